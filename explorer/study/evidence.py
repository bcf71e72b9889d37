"""What lies in a study's folders: which runs there are, how they were trained, what they scored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..record import read_record
from ..training import ASKED
from .plan import Cell, StudyPlan, comparable
from .results import Latency, RunInfo, RunState

if TYPE_CHECKING:
    from ..evaluation.examples import Examples
    from ..evaluation.store import Row
    from ..evaluation.tasks import Task

EVALUATION = "evaluation"
LATENCY = "latency.json"


@dataclass
class Scores:
    """evaluation.json of one run; per-example results are read when they are asked for."""

    folder: Path
    rows: dict[str, Row]
    """task -> row, of the one variant that the run is."""
    tasks: dict[str, Task]
    not_applicable: set[str]
    problems: list[str]

    @classmethod
    def load(cls, folder: Path, variant: str) -> Scores | None:
        """What an evaluation has written so far; None if there is none. Raises `InputError` if it is damaged.

        Made elsewhere the variant may have had another name there; alone in its folder it is known all the same.
        """
        from ..evaluation.store import Row
        from ..evaluation.tasks import Task

        try:
            told = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
            names = told["scores"]
            of = names.get(variant) or (next(iter(names.values())) if len(names) == 1 else {})
            return cls(
                folder,
                {name: Row.from_json(row) for name, row in of.items()},
                {name: Task.from_json(task) for name, task in told["tasks"].items()},
                {task for tasks in told["not_applicable"].values() for task in tasks},
                [str(one["problem"]) for one in told["problems"]],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError("its evaluation.json is damaged; delete it and start the study again") from error

    def examples(self, task: str) -> Examples | None:
        """Per-example results of a task."""
        from ..evaluation.store import ResultStore

        return ResultStore(self.folder).examples_of(self.rows[task])


@dataclass
class Found:
    """One run as it lies in the study's folder."""

    cell: Cell
    record: Mapping[str, Any] | None = None
    """variant.json of a finished training."""
    begun: bool = False
    scores: Scores | None = None
    latency: Latency | None = None
    backbone: Mapping[str, Any] = field(default_factory=dict)
    """decoder, layers, width: what was seen of the backbone when latency was measured."""

    @property
    def rows(self) -> dict[str, Row]:
        """task -> row."""
        return self.scores.rows if self.scores else {}

    def covers(self, task: str) -> bool:
        """Whether there is a score, or a reason why there can be none."""
        return self.scores is not None and (task in self.scores.rows or task in self.scores.not_applicable)

    def state(self, tasks: Sequence[str]) -> RunState:
        if self.cell.seed is not None and self.record is None:
            return "begun" if self.begun else "waiting"
        if tasks and all(map(self.covers, tasks)):
            return "evaluated"
        return "waiting" if self.cell.seed is None else "trained"

    def info(self, tasks: Sequence[str]) -> RunInfo:
        """For study.json."""
        training = (self.record or {}).get("training", {})
        dev = training.get("dev") or [{}]
        return RunInfo(
            name=self.cell.name,
            seed=self.cell.seed,
            state=self.state(tasks),
            steps=training.get("steps"),
            seconds=training.get("seconds"),
            parameters=(self.record or {}).get("parameters"),
            loss=training["curve"][-1][1] if training.get("curve") else None,
            dev=dev[-1].get("ndcg@10"),
            hardware=hardware_words(training.get("hardware", {})),
            dtype=training.get("dtype", ""),
            latency=self.latency,
            scores={task: row.main_score for task, row in self.rows.items()},
        )


def finished_record(folder: Path) -> Mapping[str, Any] | None:
    """variant.json of a finished training; None if there is none, or the training was stopped before its end."""
    if (folder / ASKED).exists() or not (folder / "variant.json").exists():
        return None
    return read_record(folder)


def read_cell(cell: Cell, output: Path) -> Found:
    """What there is of one run. Raises `InputError` if it is damaged."""
    folder = cell.folder(output)
    found = Found(cell, begun=(folder / ASKED).exists())
    if cell.seed is not None:
        found.record = finished_record(folder)
    try:
        told = json.loads((folder / LATENCY).read_text(encoding="utf-8"))
        backbone = told.pop("backbone")
        found.latency, found.backbone = Latency(**told), backbone
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet: it is measured with the evaluation
    if cell.seed is None or found.record is not None:
        found.scores = Scores.load(folder / EVALUATION, cell.variant)
    return found


@dataclass
class Evidence:
    """All runs of a study, and what speaks against taking some of it."""

    found: list[Found]
    tasks: dict[str, Task]
    problems: list[str]

    @property
    def trained(self) -> list[Found]:
        return [one for one in self.found if one.cell.seed is not None and one.record is not None]


def gather(plan: StudyPlan, output: Path, tasks: Mapping[str, Task] | None = None) -> Evidence:
    """Read all runs of a study. `tasks`: those asked for; None takes the tasks that were evaluated.

    Scores on other data than the other runs' are left out, and so are runs that were trained otherwise; both are told.
    """
    problems: list[str] = []
    found = []
    for cell in (*plan.trained, *plan.untrained):
        try:
            found.append(read_cell(cell, output))
        except InputError as error:
            problems.append(f"{cell.title}: {error}")
            found.append(Found(cell))
    seen: dict[str, Task] = dict(tasks or {})
    for one in found:
        for name, task in (one.scores.tasks if one.scores and tasks is None else {}).items():
            seen.setdefault(name, task)
    problems += _other_trainings(plan, found)
    for name in seen:
        problems += _other_data(name, found)
    for one in found:
        problems += [f"{one.cell.title}: {said}" for said in (one.scores.problems if one.scores else ())]
    return Evidence(found, seen, list(dict.fromkeys(problems)))


def _other_trainings(plan: StudyPlan, found: Sequence[Found]) -> list[str]:
    """Runs whose record says that they were trained otherwise than the first one, or on other data, are taken out."""
    problems = []
    first: Found | None = None
    for one in found:
        if one.record is None:
            continue
        first = first or one
        why = difference(one.record, first.record or {}, plan)
        if why:
            problems.append(f"{one.cell.title} is left out: {why}")
            one.record, one.scores = None, None
    return problems


def difference(record: Mapping[str, Any], other: Mapping[str, Any], plan: StudyPlan) -> str:
    """In what a run was trained otherwise than the study asks for, or than another run of it; empty: in nothing."""
    training, theirs = record.get("training") or {}, other.get("training") or {}
    if "config" not in training:
        return "its variant.json does not say how it was trained"
    config = comparable(training["config"])
    asked = comparable(plan.config(Cell(record["design"], training["seed"])))
    known = comparable(theirs["config"]) if "config" in theirs else {}
    for name, value in asked.items():
        # Small data cuts the batch: a record has the size that was used, which must be the same everywhere.
        wanted = known.get(name, config[name]) if name == "batch_size" else value
        if config[name] != wanted or (name == "batch_size" and config[name] > value):
            return f"it was trained with {name} {config[name]!r}, not {wanted!r}"
    if theirs and hashes(training["data"]) != hashes(theirs["data"]):
        return "the content of its training data is not that of the other runs"
    return ""


def hashes(sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """What of the training data decides: content and weight, in order."""
    return [(source["sha256"], source["weight"]) for source in sources]


def _other_data(task: str, found: Sequence[Found]) -> list[str]:
    """Rows on other data than most runs have are taken out: their folder carries the data's key."""
    keys = Counter(one.rows[task].folder for one in found if task in one.rows)
    if len(keys) < 2:
        return []
    kept = keys.most_common(1)[0][0]
    problems = []
    for one in found:
        if task in one.rows and one.rows[task].folder != kept:
            del one.rows[task]
            problems.append(f"{one.cell.title} on {task} is left out: it was scored on other data than the other runs")
    return problems


def hardware_words(hardware: Mapping[str, Any]) -> str:
    """A processor, or a GPU, by its own name."""
    if not hardware:
        return ""
    threads = hardware.get("threads")
    return str(hardware.get("gpu") or f"{hardware.get('cpu', 'cpu')}{f', {threads} threads' if threads else ''}")
