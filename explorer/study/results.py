"""What a study has found: one document, study.json, from which the page and both reports are made.

    study = Study.load(Path("study"))        # no computing; also while the study is still running
    study.entry("eos-causal").cells["STSBenchmark"].mean
    study.between("eos-causal", "mean-causal", "type:STS").sentence

Two kinds of intervals are kept apart everywhere: *over seeds* (other trainings of the same design, on these very
examples) and *over examples* (other examples of the same kind, with these very weights).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputError
from ..significance import Test
from ..store import whole_file

STUDY = "study.json"
FORMAT = 1
ALL = "all"
"""The scope of tests over all tasks, and the name of the mean over all tasks."""

RunState = Literal["waiting", "begun", "trained", "evaluated"]
Verdict = Literal["supported", "contradicted", "not told apart", "not tested"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class TaskInfo:
    """A task of the study."""

    name: str
    type: str
    metric: str
    split: str
    subset: str
    data: str
    """Where its data is from, and whether the scores stand beside published ones, in words."""
    comparable: bool
    n: int | None
    """Examples, where they are known one by one."""


@dataclass(frozen=True)
class Latency:
    """Time one text takes when texts come one at a time, in milliseconds: median and quartiles."""

    milliseconds: float
    low: float
    high: float
    texts: int
    hardware: str


@dataclass(frozen=True)
class RunInfo:
    """One run: a design trained with a seed, or a baseline (`seed` is None)."""

    name: str
    seed: int | None
    state: RunState
    steps: int | None = None
    seconds: float | None = None
    """Of training."""
    parameters: int | None = None
    """Trained ones, adapter and pooler together."""
    loss: float | None = None
    dev: float | None = None
    """nDCG@10 on the held-out pairs of the training data, at the end."""
    hardware: str = ""
    dtype: str = ""
    latency: Latency | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """task -> main score."""


@dataclass(frozen=True)
class Estimate:
    """A score with both its uncertainties. `mean` is over the seeds."""

    mean: float
    scores: tuple[float, ...]
    """One a seed."""
    sd: float | None = None
    """Standard deviation over seeds; None for fewer than two."""
    seed_low: float | None = None
    """95 % t interval of the mean over seeds."""
    seed_high: float | None = None
    low: float | None = None
    """95 % interval over examples; None where there are no single examples."""
    high: float | None = None
    best: bool = False
    tied: bool = False
    """Not told apart from the best design."""


@dataclass(frozen=True)
class Entry:
    """A line of the table: a design, or a baseline."""

    name: str
    baseline: bool
    seeds: tuple[int, ...]
    cells: Mapping[str, Estimate]
    """By task."""
    averages: Mapping[str, Estimate]
    """By task type and "all": means of main scores over the tasks; only where every task is there."""


@dataclass(frozen=True)
class SeedGap:
    """The difference of two designs' means as trainings with other seeds would give it (Welch's t interval)."""

    low: float
    high: float
    p: float | None
    a: int
    """Seeds of a; 0 for a baseline, which has none."""
    b: int


@dataclass(frozen=True)
class Pair:
    """Two entries on one scope: "task:NAME", "type:NAME" or "all"."""

    scope: str
    test: Test
    """Its difference is a's score minus b's, both averaged over seeds."""
    seeds: SeedGap | None
    """None where one of the two was trained once: then nothing is known of chance in training."""

    @property
    def told_apart(self) -> bool:
        """Whether neither the choice of examples or tasks nor that of seeds explains the difference.

        The test's p, corrected over all pairs, is below 5 %, and the interval over seeds lies on the side of 0 of the
        one whom the test puts ahead: where ranks and means disagree nothing is told apart.
        """
        return self.test.significant and self.seed_ends is not None and self.seed_ends[0] > 0

    @property
    def winner(self) -> str | None:
        """The better one by the test and over seeds; None if they are not told apart."""
        return self.test.winner if self.told_apart else None

    @property
    def seed_ends(self) -> tuple[float, float] | None:
        """The interval over seeds as the one sees it whom the test puts ahead."""
        if self.seeds is None:
            return None
        low, high = self.seeds.low, self.seeds.high
        return (low, high) if self.test.ahead == self.test.a else (-high, -low)

    @property
    def sentence(self) -> str:
        """What is known, with the numbers that decide it."""
        test, where = self.test, self.scope.partition(":")[2] or "all tasks"
        if test.disagrees:
            parts = [f"{test.ahead} is ahead of {test.behind} on {where} by ranks, but its mean is lower by "
                     f"{abs(test.difference):.4f}"]  # fmt: skip
        else:
            parts = [f"{test.ahead} is ahead of {test.behind} on {where} by {test.advantage:.4f}"]
        if test.refused:
            parts.append(f"no test: {test.refused}")
        else:
            p = test.p_holm if test.p_holm is not None else test.p
            parts.append(f"{test.method}, p = {p:.2g} after Holm's correction")
        if self.seed_ends is None:
            parts.append("trained once each, so that chance in training is unknown")
        else:
            parts.append(f"95 % over seeds {self.seed_ends[0]:+.4f} to {self.seed_ends[1]:+.4f}")
        return f"{'; '.join(parts)}: {'told apart' if self.told_apart else 'not told apart'}."


@dataclass(frozen=True)
class Part:
    """One comparison that bears on a claim."""

    a: str
    b: str
    type: str
    verdict: Verdict
    numbers: str


@dataclass(frozen=True)
class ClaimCard:
    """A claim of the paper and what this study says to it."""

    id: str
    title: str
    statement: str
    """As published."""
    source: str
    comparison: str
    """What is compared here to test it."""
    verdict: Verdict
    reason: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class LayerPicture:
    """What a multi-layer pooler attends to at the end of its training: a share for each layer, by seed."""

    name: str
    seeds: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]
    """[seed][layer], layers 1..L; each row sums to 1."""

    @property
    def mean(self) -> list[float]:
        return [sum(column) / len(column) for column in zip(*self.weights, strict=True)]


@dataclass(frozen=True)
class Study:
    """A study, finished or not."""

    question: str
    setup: Mapping[str, Any]
    """backbone, training (configuration), data (with hashes), designs, seeds, versions, hardware, dtypes, sample,
    instructions, decoder (whether the backbone is one; None: unknown)."""
    tasks: Mapping[str, TaskInfo]
    runs: tuple[RunInfo, ...]
    entries: tuple[Entry, ...] = ()
    pairs: tuple[Pair, ...] = ()
    claims: tuple[ClaimCard, ...] = ()
    layers: tuple[LayerPicture, ...] = ()
    limits: tuple[str, ...] = ()
    """What can and cannot be concluded, in sentences."""
    problems: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def finished(self) -> bool:
        """Whether all runs are evaluated."""
        return all(run.state == "evaluated" for run in self.runs)

    @property
    def designs(self) -> list[str]:
        """Designs that have scores, in the order of the plan."""
        return [entry.name for entry in self.entries if not entry.baseline]

    @property
    def types(self) -> list[str]:
        """Task types, in the order of the tasks."""
        return list(dict.fromkeys(task.type for task in self.tasks.values()))

    def entry(self, name: str) -> Entry:
        """A line of the table. Raises KeyError."""
        return {entry.name: entry for entry in self.entries}[name]

    def between(self, a: str, b: str, scope: str) -> Pair | None:
        """The comparison of two entries on a scope, in whichever order; None if there is none."""
        for pair in self.pairs:
            if pair.scope == scope and {pair.test.a, pair.test.b} == {a, b}:
                return pair
        return None

    def runs_of(self, name: str) -> list[RunInfo]:
        return [run for run in self.runs if run.name == name]

    def to_json(self) -> dict[str, Any]:
        """study.json; what follows from the rest (told apart, sentences) stands there too, for other readers."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        told = {name: _plain(value) for name, value in found.items() if name != "pairs"}
        told["pairs"] = [
            {"scope": p.scope, "told_apart": p.told_apart, "winner": p.winner, "sentence": p.sentence,
             "test": asdict(p.test), "seeds": asdict(p.seeds) if p.seeds else None}
            for p in self.pairs
        ]  # fmt: skip
        return {"format": FORMAT, "finished": self.finished, **told}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Study:
        """What `to_json` made. KeyError, TypeError or ValueError for something else."""
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']!r}")
        return cls(
            question=told["question"],
            setup=told["setup"],
            tasks={name: TaskInfo(**task) for name, task in told["tasks"].items()},
            runs=tuple(_run(run) for run in told["runs"]),
            entries=tuple(_entry(entry) for entry in told["entries"]),
            pairs=tuple(_pair(pair) for pair in told["pairs"]),
            claims=tuple(_claim(claim) for claim in told["claims"]),
            layers=tuple(
                LayerPicture(one["name"], tuple(one["seeds"]), tuple(map(tuple, one["weights"])))
                for one in told["layers"]
            ),
            limits=tuple(told["limits"]),
            problems=tuple(told["problems"]),
            stopped=told["stopped"],
        )

    def save(self, folder: Path) -> None:
        """Write study.json, whole or not at all."""
        with whole_file(folder / STUDY) as temporary:
            text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Study:
        """The study of a folder as it was last written, in milliseconds. Raises `InputError` if there is none."""
        try:
            return cls.from_json(json.loads((folder / STUDY).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(f"the folder '{folder.name}' holds no study: it has no {STUDY}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{STUDY} in '{folder.name}' is damaged; write it again with study --report-only"
            ) from error


def _plain(value: Any) -> Any:
    """Dataclasses within tuples and dictionaries as dictionaries."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _run(told: dict[str, Any]) -> RunInfo:
    return RunInfo(**{**told, "latency": Latency(**told["latency"]) if told["latency"] else None})


def _estimate(told: dict[str, Any]) -> Estimate:
    return Estimate(**{**told, "scores": tuple(told["scores"])})


def _entry(told: dict[str, Any]) -> Entry:
    cells = {name: _estimate(one) for name, one in told["cells"].items()}
    averages = {name: _estimate(one) for name, one in told["averages"].items()}
    return Entry(told["name"], told["baseline"], tuple(told["seeds"]), cells, averages)


def _pair(told: dict[str, Any]) -> Pair:
    return Pair(told["scope"], Test(**told["test"]), SeedGap(**told["seeds"]) if told["seeds"] else None)


def _claim(told: dict[str, Any]) -> ClaimCard:
    return ClaimCard(**{**told, "parts": tuple(Part(**part) for part in told["parts"])})
