"""A study's folder -> `Study`: everything that can be said of the runs that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..designs import DESIGNS
from ..training_config import portable
from .claims import judge
from .evidence import Evidence, Found, gather
from .limits import limits
from .plan import OF_A_RUN, StudyPlan
from .results import LayerPicture, Study, TaskInfo

if TYPE_CHECKING:
    from ..evaluation.tasks import Task

QUESTION = "Which of these designs makes the better embedding model of this backbone, all trained and tested alike?"


def summarize(
    plan: StudyPlan,
    output: Path,
    tasks: Mapping[str, Task] | None = None,
    problems: Sequence[str] = (),
    stopped: bool = False,
    compare: bool = True,
) -> Study:
    """Read all runs and compute table, tests, verdicts. Without `compare` only the runs: the rest takes seconds."""
    evidence = gather(plan, output, tasks)
    names = list(evidence.tasks)
    shown = {name: _task(name, evidence) for name in names}
    setup = _setup(plan, evidence)
    study = Study(
        question=plan.question or QUESTION,
        setup=setup,
        tasks=shown,
        runs=tuple(one.info(names) for one in evidence.found),
        layers=tuple(_layers(evidence.trained)),
        problems=tuple(dict.fromkeys([*problems, *evidence.problems])),
        stopped=stopped,
    )
    if not compare:
        return study
    from .analysis import Analysis, measured

    scored = [name for name in names if any(name in one.rows for one in evidence.found)]
    types = {
        kind: [t for t in scored if shown[t].type == kind] for kind in dict.fromkeys(shown[t].type for t in scored)
    }
    analysis = Analysis(measured(evidence), types)
    pairs = analysis.pairs()
    study = replace(study, entries=tuple(analysis.entries(pairs)), pairs=tuple(pairs))
    return replace(
        study,
        claims=tuple(judge(study.designs, list(types), study.between)),
        limits=tuple(limits(setup, shown, study.runs, pairs)),
    )


def _task(name: str, evidence: Evidence) -> TaskInfo:
    task = evidence.tasks[name]
    row = next((one.rows[name] for one in evidence.found if name in one.rows), None)
    return TaskInfo(
        name,
        task.type,
        task.metric,
        task.split,
        task.subset,
        row.data if row else "not evaluated yet",
        row.comparable if row else False,
        (row.n if row else None) or task.samples,
    )


def _setup(plan: StudyPlan, evidence: Evidence) -> dict[str, Any]:
    """What all runs have in common, and what differs between them."""
    records = [one.record["training"] for one in evidence.trained if one.record]
    asked = portable(plan.shared).to_json() | ({"batch_size": records[0]["config"]["batch_size"]} if records else {})
    seen: Mapping[str, Any] = next((one.backbone for one in evidence.found if one.backbone.get("width")), {})
    return {
        "backbone": asked["backbone"],
        "designs": list(plan.designs),
        "seeds": list(plan.seeds),
        "baselines": list(plan.baselines or ()),
        "training": {name: value for name, value in asked.items() if name not in OF_A_RUN},
        "data": records[0]["data"] if records else [],
        "pairs": records[0]["pairs"] if records else None,
        "held_out": records[0]["held_out"] if records else None,
        "steps": max((record["steps"] for record in records), default=None),
        "versions": _distinct(record["versions"] for record in records),
        "hardware": _distinct(record["hardware"] for record in records),
        "dtypes": _distinct(record["dtype"] for record in records),
        "sample": plan.sample,
        "instructions": plan.instructions,
        "data_dir": Path(plan.data_dir).name if plan.data_dir else None,
        "decoder": seen.get("decoder"),
        "layers": seen.get("layers"),
        "width": seen.get("width"),
    }


def _distinct(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _layers(trained: Sequence[Found]) -> list[LayerPicture]:
    """The last measured layer weights of every multi-layer design, by seed."""
    weights: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
    for one in trained:
        measured = (one.record or {}).get("training", {}).get("layer_weights")
        if measured and one.cell.seed is not None and DESIGNS[one.cell.name].pooling == "multi-layer":
            row = tuple(map(float, measured[-1]["weights"]))
            weights.setdefault(one.cell.name, []).append((one.cell.seed, row))
    return [
        LayerPicture(name, tuple(seed for seed, _ in rows), tuple(row for _, row in rows))
        for name, rows in weights.items()
    ]
