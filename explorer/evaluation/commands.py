"""What `python -m explorer evaluate` does with its options, and how it shows the result."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..variants import DEFAULT_VARIANTS, Shelf


def run(options: argparse.Namespace, shelf: Shelf) -> dict[str, Any]:
    """The document of `evaluate --json`."""
    from .engine import EvaluationConfig, evaluate

    tasks = [*(options.tasks or []), *options.task]
    config = EvaluationConfig(
        variants=tuple(DEFAULT_VARIANTS if options.variants is None else options.variants),
        tasks=tuple(tasks),
        data_dir=Path(options.data_dir) if options.data_dir else None,
        sample=options.sample,
        instructions=options.instructions,
        instruct=pairs(options.instruct),
    )
    if not options.output:
        raise InputError("--output names the folder for the results; give one")
    return evaluate(shelf, config, Path(options.output)).to_json()


def pairs(given: Sequence[str]) -> dict[str, str]:
    """TASK=TEXT as a dictionary."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--instruct takes TASK=TEXT, not '{text[:60]}'")
        found[name.strip()] = value.strip()
    return found


def show(result: dict[str, Any]) -> None:
    for variant, rows in result["scores"].items():
        for task, row in rows.items():
            print(variant, task, row["main_score"])
