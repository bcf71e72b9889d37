"""Checkpoints of transformers' Trainer that are whole or not there, of which the newest is kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import nn
from transformers import Trainer

from .training import checkpoints


class WholeCheckpoints(Trainer):
    """Writes a checkpoint beside its place and renames it when it is whole; older ones go afterwards."""

    _folder = ""
    """Where a checkpoint is being written; else the output folder."""

    def _get_output_dir(self, trial: Any) -> str:
        return self._folder or str(self.args.output_dir)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        output = Path(str(self.args.output_dir))
        place = output / f"checkpoint-{self.state.global_step}"
        if place.exists():
            return
        making = output / ".checkpoint.tmp"
        first = self.args.process_index == 0
        if first:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
        self._barrier()
        self._folder = str(making)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._folder = ""
        self._barrier()
        if first:
            os.replace(making / place.name, place)
            shutil.rmtree(making)
            for old in checkpoints(output)[:-1]:
                aside = old.with_name(f".{old.name}.tmp")
                os.replace(old, aside)
                shutil.rmtree(aside)
        self._barrier()

    def _barrier(self) -> None:
        if self.args.world_size > 1:
            dist.barrier()
