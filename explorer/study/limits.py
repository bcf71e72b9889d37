"""What can and cannot be concluded from a study: sentences that follow from what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .results import Pair, RunInfo, TaskInfo

FEW_SEEDS = 5
SMALL_DATA = 100_000
"""The paper trained on about 1.4 million pairs."""
SMALL_MODEL = 2_000
"""Width below which a backbone is far from the paper's, of width 4,096."""


def limits(
    setup: Mapping[str, Any], tasks: Mapping[str, TaskInfo], runs: Sequence[RunInfo], pairs: Sequence[Pair]
) -> list[str]:
    """In the order of their weight."""
    return [
        said for said in (*_seeds(setup, runs), *_set_up(setup), *_tasks(tasks), *_runs(runs), *_tests(pairs)) if said
    ]


def _seeds(setup: Mapping[str, Any], runs: Sequence[RunInfo]) -> list[str]:
    done = {name: sum(r.name == name and r.state == "evaluated" for r in runs) for name in setup["designs"]}
    found = []
    if any(run.state != "evaluated" for run in runs):
        missing = [f"{r.name}{'' if r.seed is None else f' seed {r.seed}'}" for r in runs if r.state != "evaluated"]
        shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        found.append(f"The study is not finished: {shown} are missing.")
    least = min(done.values(), default=0)
    if least < 2:
        found.append(
            "A design with one seed is one model: nothing is known of chance in its training, and no verdict is given."
        )
    elif least < FEW_SEEDS:
        found.append(
            f"{least} seeds a design tell little of chance in training: intervals over seeds are wide, and only large "
            "differences can be told apart."
        )
    return found


def _set_up(setup: Mapping[str, Any]) -> list[str]:
    found = []
    if setup.get("decoder") is False:
        found.append(
            "The backbone is an encoder that was pretrained with bidirectional attention; the paper's are causal "
            "language models. Causal attention is foreign to it, so that what is said of attention here does not carry "
            "over to them."
        )
    elif (setup.get("width") or SMALL_MODEL) < SMALL_MODEL:
        found.append(
            f"The backbone is small (width {setup['width']}, {setup['layers']} layers); the paper's have 0.5 and 7 "
            "billion parameters."
        )
    pairs = sum(source["pairs"] for source in setup.get("data", ()))
    if 0 < pairs < SMALL_DATA:
        found.append(f"{pairs:,} training pairs are few; the paper trained on about 1.4 million.")
    if setup.get("steps"):
        seen = setup["steps"] * setup["training"]["batch_size"]
        found.append(
            f"All designs were trained for {setup['steps']:,} steps ({seen:,} pairs seen) with the same learning "
            "rates; with more training, or each with its own best settings, another order is possible."
        )
    if setup["training"].get("guide_weight"):
        found.append(
            f"A teacher ({setup['training']['guide']}) draws all designs towards its own vectors, which makes them "
            "more alike than training on pairs alone."
        )
    return found


def _tasks(tasks: Mapping[str, TaskInfo]) -> list[str]:
    found = []
    own = [task.name for task in tasks.values() if not task.comparable]
    if own:
        found.append(f"Not comparable with published scores: {', '.join(own)}.")
    counts: dict[str, int] = {}
    for task in tasks.values():
        counts[task.type] = counts.get(task.type, 0) + 1
    few = [f"{kind} ({count})" for kind, count in counts.items() if count < 6]
    if few:
        found.append(
            f"Few tasks of a type: {', '.join(few)}. Below six the paper's test across tasks cannot reach 5 %; what is "
            "tested there instead speaks for these very tasks, not for the type."
        )
    return found


def _runs(runs: Sequence[RunInfo]) -> list[str]:
    found = []
    hardware = sorted({run.hardware for run in runs if run.hardware})
    dtypes = sorted({run.dtype for run in runs if run.dtype})
    if len(hardware) > 1:
        found.append(f"Runs were made on different hardware ({'; '.join(hardware)}): compare times only within one.")
    if len(dtypes) > 1:
        found.append(f"Runs were trained in different precision ({', '.join(dtypes)}).")
    if any(run.latency for run in runs):
        found.append(
            "Latency was measured once a run on a machine that may have had other work; differences of a few per cent "
            "mean nothing."
        )
    return found


def _tests(pairs: Sequence[Pair]) -> list[str]:
    refused = sorted({pair.scope.partition(":")[2] or "all tasks" for pair in pairs if pair.test.refused})
    found = []
    if refused:
        found.append(f"Without a test for at least some pairs: {', '.join(refused)}.")
    if pairs:
        found.append(
            "“Told apart” means that the test is below 5 % after Holm's correction over all pairs and that the 95 % "
            "interval over seeds, which is not corrected, leaves out 0. “Not told apart” does not mean equal."
        )
    return found
