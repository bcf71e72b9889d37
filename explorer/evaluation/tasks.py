"""Tasks: what can be evaluated, by name, and how an mteb task of it is made.

    task("STSBenchmark")                      an official task, from the hub or, with data_dir, from local files
    task("XQuADRetrieval@validation/en")      a split and a subset of it
    task("PythonStdlibRetrieval")             built in: needs no download
    task("retrieval:my-folder")               one's own data; also classification:, clustering:, sts:

Making a `Task` reads little; `load` gives a fresh mteb task with its data. mteb is imported on first use (seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

    from ..corpora import Corpus

DataSource = Literal["hub", "local", "own", "built-in"]

WORDS = "name type metric split subset source key characters samples instruction corpus_name".split()
"""What a task says of itself, other than its data."""

METRICS: dict[str, str] = {
    "ndcg_at_10": "nDCG@10",
    "map_at_1000": "MAP",
    "map": "MAP",
    "accuracy": "accuracy",
    "f1": "F1",
    "v_measure": "V-measure",
    "cosine_spearman": "Spearman of cosine",
    "max_ap": "average precision",
}
"""Main scores of mteb in words; others are shown by their own name."""


@dataclass(frozen=True)
class Task:
    """One task, one split, one subset of it."""

    name: str
    type: str
    """mteb's type: STS, Retrieval, Classification, Clustering …"""
    metric: str
    """mteb's name of the main score."""
    split: str
    subset: str
    languages: tuple[str, ...]
    source: DataSource
    key: str
    """Hash of the data (local files, one's own), or path and revision of the data set on the hub."""
    load: Callable[[], AbsTask] = field(repr=False, compare=False)
    """A fresh mteb task with its data loaded. Raises `InputError` in one sentence for what cannot be read."""
    characters: int | None = None
    """What is encoded, where that is known before loading."""
    samples: int | None = None
    instruction: str = ""
    corpus: Callable[[], Corpus] | None = field(default=None, repr=False, compare=False)
    """For retrieval on a corpus of ours: the same documents, queries and judgments."""
    corpus_name: str = ""
    """Under which Compare opens it; empty where it cannot."""
    notes: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """How it is asked for."""
        return f"{self.name}@{self.split}/{self.subset}" if self.source in ("hub", "local") else self.name

    @property
    def symmetric(self) -> bool:
        """Whether its texts are all alike, rather than queries and documents."""
        return self.type not in ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")

    def to_json(self) -> dict[str, Any]:
        """For the list of tasks."""
        found = {key: getattr(self, key) for key in WORDS}
        return {**found, "languages": list(self.languages), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        """What `to_json` told, for showing results: its data cannot be loaded."""

        def load() -> AbsTask:
            raise InputError(f"the data of {data['name']} is not at hand; only its results are")

        found: dict[str, Any] = {key: data[key] for key in WORDS}
        return cls(**found, languages=tuple(data["languages"]), notes=tuple(data["notes"]), load=load)


def metric_words(metric: str) -> str:
    """A main score's name for people."""
    return METRICS.get(metric, metric.replace("_", " "))


def make_task(name: str, data_dir: Path | None = None) -> Task:
    """The task of that name. Raises `InputError` naming what would be right."""
    from .builtin import BUILT_IN, built_in
    from .official import official
    from .own import KINDS, is_own, own

    if name in BUILT_IN:
        return built_in(name)
    if is_own(name):
        return own(name)
    if not name.strip():
        raise InputError("a task has no name; separate names by one comma")
    base, _, rest = name.partition("@")
    split, _, subset = rest.partition("/")
    try:
        return official(base.strip(), split.strip(), subset.strip(), data_dir)
    except UnknownTask as error:
        raise InputError(
            f"no task '{base[:80]}'{error.hint}; give a task of mteb, a built-in one ({', '.join(BUILT_IN)}), or your "
            f"own data as {', '.join(f'{kind}:PATH' for kind in KINDS)}"
        ) from None


class UnknownTask(LookupError):
    """mteb has no such task; `hint` names one that is spelled alike."""

    def __init__(self, hint: str = "") -> None:
        super().__init__(hint)
        self.hint = hint


def make_tasks(names: Sequence[str], data_dir: Path | None = None) -> tuple[dict[str, Task], dict[str, str]]:
    """Tasks by name, in order, each once, and for those that cannot be had a sentence by what was asked for."""
    tasks: dict[str, Task] = {}
    problems: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            made = make_task(name, data_dir)
        except InputError as error:
            problems[name] = str(error)
            continue
        other = tasks.get(made.name)
        if other is not None and other.key == made.key and (other.split, other.subset) == (made.split, made.subset):
            continue
        if other is not None:
            problems[name] = f"another task is called '{made.name}' too; evaluate '{name[:80]}' in a run of its own"
            continue
        tasks[made.name] = made
    return tasks, problems


def new_task(
    kind: type[AbsTask],
    name: str,
    type_: str,
    metric: str,
    description: str,
    instruction: str,
    dataset: Any,
    attributes: Mapping[str, Any] | None = None,
) -> AbsTask:
    """An mteb task of one's own data: a subclass with metadata, its data set in place. Split "test", English."""
    from mteb.abstasks.task_metadata import TaskMetadata

    metadata = TaskMetadata(
        name=name,
        description=description,
        dataset={"path": "local", "revision": "local"},
        type=type_,  # type: ignore[arg-type]
        category="t2t" if type_ in ("Retrieval", "STS") else "t2c",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=metric,
        prompt=instruction or None,
    )
    body = {"metadata": metadata, "__module__": __name__, **(attributes or {})}
    made = type(name, (kind,), body)()
    made.dataset, made.data_loaded = dataset, True
    return made
