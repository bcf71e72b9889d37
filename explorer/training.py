"""Training: one trainer for all designs, on sentence-transformers' own.

    result = train(TrainingConfig("multi-layer-bidirectional", data=("pairs.jsonl",)), Path("checkpoints/mine/first"))

The output folder while it trains: training.json (what was asked for), progress.jsonl, checkpoint-N (to resume from).
When it ends or is stopped: the variant (`record.VARIANT_FILES`) beside them. variant.json comes last, so
a folder that has one is whole. A finished run leaves no checkpoint; a stopped one can be resumed from its own.
A file named `stop` in the folder ends the run after the current step, as SIGTERM and SIGINT do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .errors import Cancelled, InputError
from .record import read_record, variant_files
from .training_config import TrainingConfig, from_given, from_saved

ASKED = "training.json"
STOP_FILE = "stop"
MAY_CHANGE = ("device", "micro_batch", "report_to", "estimate_steps", "log_every", "eval_every", "save_every")
"""Options that a resumed run may change: they do not decide what is learned."""


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    output: Path
    steps: int
    stopped: bool
    """By a signal or the stop file: it can be resumed."""
    seconds: float
    loss: float | None
    dev: Mapping[str, float]
    parameters: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output), "variant": str(self.output), "dev": dict(self.dev)}


# --------------------------------------------------------------------------------------------------- the output folder


def config_for(output: Path, given: Mapping[str, Any], resume: bool) -> TrainingConfig:
    """The configuration that is run: what is given, or to resume what the folder says, which must not contradict it.

    Raises `InputError` if the folder holds a run already, or another one than is asked for.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"'{output}' is a file; --output names a folder")
    if not resume:
        there = [path.name for path in (output / ASKED, *variant_files(output)) if path.exists()]
        if there:
            raise InputError(
                f"the folder '{output}' holds {there[0]} already; choose another, or add --resume to go on with its run"
            )
        return from_given(given)
    saved = _saved(output)
    if saved is None:
        return from_given(given)
    config = from_saved(saved["config"])
    asked = replace(config, **given)
    for name, value in config.to_json().items():
        if asked.to_json()[name] != value and name not in MAY_CHANGE:
            raise InputError(
                f"the run in '{output}' has {name} {value!r}, not {asked.to_json()[name]!r}; a resumed run keeps it"
            )
    return asked


def _saved(output: Path) -> dict[str, Any] | None:
    """What training.json says, or variant.json of a finished run; None if nothing was begun."""
    for name in (ASKED, "variant.json"):
        try:
            found = json.loads((output / name).read_text(encoding="utf-8"))
            return found if name == ASKED else found["training"]
        except FileNotFoundError:
            continue
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
            raise InputError(f"{name} in '{output}' is damaged; train into another folder") from error
    return None


def checkpoints(output: Path) -> list[Path]:
    """Checkpoints to resume from, oldest first. They are named only when they are whole."""
    found = [p for p in output.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def finished(output: Path) -> Result | None:
    """The result of a run that is done; None if it was stopped or not begun."""
    if (output / ASKED).exists() or not (output / "variant.json").exists():
        return None
    record = read_record(output)
    training = record["training"]
    loss = training["curve"][-1][1] if training["curve"] else None
    dev = training["dev"][-1] if training["dev"] else {}
    return Result(output, training["steps"], False, training["seconds"], loss, dev, record["parameters"])


def check_disk(output: Path, parameters: int) -> None:
    """Two checkpoints (weights and two moments, float32) and the variant must fit beside each other."""
    needed = parameters * (2 * 3 * 4 + 2 * 2) + 2**24
    free = shutil.disk_usage(output).free
    if free < needed:
        raise InputError(
            f"the disk of '{output}' has {free / 2**20:,.0f} MiB free, training needs {needed / 2**20:,.0f} MiB"
        )


def commit(new: Path, output: Path) -> None:
    """Move a finished variant's files to their place: variant.json goes first and comes last."""
    (output / "variant.json").unlink(missing_ok=True)
    for old in variant_files(output):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for path in variant_files(new):
        os.replace(path, output / path.name)
    shutil.rmtree(new, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------- stopping


class Stop:
    """Notices SIGTERM, SIGINT and the stop file. A second SIGINT ends the process at once."""

    def __init__(self, output: Path) -> None:
        self.file = output / STOP_FILE
        self.asked = False
        self.training = False

    def _on_signal(self, number: int, _frame: Any) -> None:
        if not self.training or (self.asked and number == signal.SIGINT):
            raise Cancelled("stopped before a step was made")
        self.asked = True

    def __bool__(self) -> bool:
        return self.asked or self.file.exists()

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handlers are installed for the time of the run; a thread cannot have any."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield self
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


# -------------------------------------------------------------------------------------------------------------- the run


def train(config: TrainingConfig, output: Path, resume: bool = False, estimate_only: bool = False) -> Any:
    """Train one variant into `output`. Returns `Result`, or with `estimate_only` the estimate as a dictionary.

    Raises `InputError` for what cannot be used, `Cancelled` if stopped before the first step; then nothing is left
    behind but training.json and progress.
    """
    done = finished(output) if resume else None
    if done is not None:
        return done
    check_report_to(config)
    stop = Stop(output)
    with stop.listening():
        from .training_run import Run  # imports torch and the libraries: takes seconds

        run = Run(config, output, stop, resume=resume, estimate_only=estimate_only)
        return run.estimate() if estimate_only else run.train()


def check_report_to(config: TrainingConfig) -> None:
    """`InputError` saying what to install, if the reporter is not."""
    package = {"tensorboard": "tensorboard", "trackio": "trackio"}.get(config.report_to)
    if package and importlib.util.find_spec(package) is None:
        raise InputError(f"report_to '{config.report_to}' needs a package: pip install {package}")
