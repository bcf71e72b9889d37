"""What Fine-tune and Study ask for alike: training data, budget and rates; and the estimate of what they will take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..designs import DEFAULT_BACKBONE, MEANING
from ..errors import InputError
from ..variants import embedded_backbones
from . import texts

BUILT_IN_DATA = "builtin:docstrings"
PRESETS: dict[str, dict[str, Any]] = {
    "About a minute": {"max_steps": 20, "batch_size": 32, "max_length": 64, "eval_every": 10},
    "About ten minutes": {"max_steps": 150, "batch_size": 48, "max_length": 96, "eval_every": 25},
    "Custom": {},
}
"""Steps that two processor cores make in that time; a GPU is much faster."""
PATIENCE = 600
"""Seconds that an estimate may take."""


@dataclass(frozen=True)
class TrainingWanted:
    """The part of a form that says how to train, in the order of `training_fields`."""

    backbone: str
    built_in: bool
    files: list[str] | None
    hub: str
    preset: str
    max_steps: float
    batch_size: float
    max_length: float
    learning_rate: float
    pooler_learning_rate: float
    scale: float
    pooler_init: str
    tokens: str
    guide_weight: float

    @property
    def data(self) -> list[str]:
        """Data sources as the command line takes them."""
        named = [self.hub.strip()] if self.hub.strip() else []
        named = [n if n.startswith("hub:") else f"hub:{n}" for n in named]
        return [*([BUILT_IN_DATA] if self.built_in else []), *(self.files or []), *named]

    @property
    def missing(self) -> str:
        """What is missing before it can start; empty when nothing is."""
        if not self.data:
            return "Choose training data first"
        if not self.backbone.strip():
            return "Name a backbone first"
        return ""

    def training(self) -> dict[str, Any]:
        """Options of a training apart from design, seed and data; a preset wins over the custom fields it sets."""
        custom = {
            "max_steps": int(self.max_steps),
            "batch_size": int(self.batch_size),
            "max_length": int(self.max_length),
            "eval_every": max(1, int(self.max_steps) // 6),
        }
        guide = {"guide": "published", "guide_weight": self.guide_weight} if self.guide_weight else {}
        return {
            "backbone": self.backbone.strip(),
            **custom,
            "learning_rate": self.learning_rate,
            "pooler_learning_rate": self.pooler_learning_rate,
            "scale": self.scale,
            "pooler_init": self.pooler_init,
            "tokens": self.tokens,
            **guide,
            "serve_length": 256,
            "save_every": 25,
            **PRESETS.get(self.preset, {}),
        }


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options as the command line takes them."""
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def training_fields(prefix: str, pooler_init: str) -> dict[str, Any]:
    """The fields, in the order of `TrainingWanted`. `prefix` tells the tabs' fields apart."""
    backbone = gr.Dropdown(
        list(embedded_backbones()), value=DEFAULT_BACKBONE, label="Backbone", allow_custom_value=True,
        info=texts.BACKBONE_INFO, elem_id=f"{prefix}-backbone",
    )  # fmt: skip
    built_in = gr.Checkbox(True, label=texts.BUILT_IN_DATA_LABEL, elem_id=f"{prefix}-builtin")
    files = gr.File(label=texts.TRAIN_FILES, file_count="multiple", height=150, elem_id=f"{prefix}-files")
    hub = gr.Textbox(label="or a hub dataset (owner/name:split)", elem_id=f"{prefix}-hub")
    preset = gr.Radio(
        list(PRESETS), value="About a minute", label="How long a training, on two cores", elem_id=f"{prefix}-preset"
    )
    with gr.Accordion("Custom settings", open=False, elem_id=f"{prefix}-custom"):
        with gr.Row():
            steps = gr.Number(200, label="Steps", precision=0, minimum=1)
            batch = gr.Number(64, label="Pairs a step", precision=0, minimum=2)
            length = gr.Number(128, label="Tokens a text", precision=0, minimum=8)
        with gr.Row():
            rate = gr.Number(2e-4, label="Learning rate")
            pooler_rate = gr.Number(2e-4, label="Pooler learning rate")
            scale = gr.Number(20, label="Scale (1 / temperature)")
        with gr.Row():
            init = gr.Dropdown(["near-last", "near-mean", "random", "paper"], value=pooler_init, label="Pooler starts")
            tokens = gr.Dropdown(
                [(texts.TOKENS_CHOICES[name], name) for name in MEANING], value="all", label=texts.TOKENS,
                info=texts.TOKENS_INFO, elem_id=f"{prefix}-tokens", min_width=260,
            )  # fmt: skip
            guide = gr.Number(0, label="Weight of the published model as guide")
    return {
        "backbone": backbone, "built_in": built_in, "files": files, "hub": hub, "preset": preset, "max_steps": steps,
        "batch_size": batch, "max_length": length, "learning_rate": rate, "pooler_learning_rate": pooler_rate,
        "scale": scale, "pooler_init": init, "tokens": tokens, "guide_weight": guide,
    }  # fmt: skip


def estimate(command: str, arguments: Sequence[str], device: str) -> dict[str, Any]:
    """The document of the command's own --estimate-only, which measures a few steps. Raises `InputError`."""
    line = [sys.executable, "-m", "explorer", command, *arguments, "--estimate-only", "--json", "--device", device]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2], timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"measuring a few steps took longer than {PATIENCE // 60} minutes; the run would take very long"
        ) from error
    if done.returncode:
        raise InputError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the estimate failed")
    return json.loads(done.stdout)
