"""The commands `pretrain` and `perplexity`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..options import add_options, given_fields
from .config import PretrainingConfig, from_saved


def add_pretrain_options(parser: argparse.ArgumentParser) -> None:
    """One option a field of the configuration, and where to."""
    add_options(parser.add_argument_group("pretraining"), PretrainingConfig, {"text": "FILE"})
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder of the model; made if missing")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output, if there is one")


def run_pretrain(options: argparse.Namespace) -> dict[str, Any]:
    """Pretrain, or go on with it; the record. Raises `InputError` if the folder holds a model or a run already."""
    output, given = Path(options.output), given_fields(options, PretrainingConfig)
    if output.exists() and not output.is_dir():
        raise InputError(f"'{output}' is a file; --output names a folder")
    record = output / "pretraining.json"
    if (output / "config.json").exists() or (record.exists() and not options.resume):
        what = "a model" if (output / "config.json").exists() else "a run, which --resume would go on with"
        raise InputError(f"the folder '{output}' holds {what} already; choose another")
    if record.exists():
        saved = json.loads(record.read_text(encoding="utf-8"))["config"]
        config = from_saved(saved, given, output)
    else:
        config = PretrainingConfig(**given)
    from .run import run

    return run(config, output, options.resume)


def add_perplexity_options(parser: argparse.ArgumentParser) -> None:
    """Which model, on which text."""
    parser.add_argument("--model", required=True, metavar="DIR", help="a causal language model: a folder or a hub id")
    parser.add_argument("--text", nargs="+", default=(), metavar="FILE", help="one passage a line: .txt or .txt.xz")
    parser.add_argument("--docstrings", action="store_true", help="also the standard library's docstrings")
    parser.add_argument(
        "--held-out", type=float, default=0.01, metavar="X", help="the share that `pretrain` held out; 1: all of it"
    )
    parser.add_argument("--context", type=int, default=0, metavar="N", help="tokens of a sequence; 0: up to 512")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")


def run_perplexity(options: argparse.Namespace) -> dict[str, Any]:
    """Perplexity of a saved model. Raises `InputError`."""
    from .perplexity import of_saved

    if not options.text and not options.docstrings:
        raise InputError("there is no text; give --text FILE (.txt or .txt.xz, one passage a line) or --docstrings")
    if options.context < 0 or options.context == 1:
        raise InputError(f"context must be 0 or at least 2 tokens, not {options.context}")
    found = of_saved(
        options.model, tuple(options.text), options.docstrings, options.held_out, options.context, options.device
    )
    return {"model": options.model, **found.to_json()}
