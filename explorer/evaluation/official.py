"""Official mteb tasks: from the hub, or from local files in the layout of the hub's data sets, checked.

A folder of local data holds one folder a data set, named as on the hub (`mteb/stsbenchmark-sts` -> `stsbenchmark-sts`).
What was loaded is compared with mteb's own descriptive statistics, so that a score says whether its data is official.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..corpora.mteb_tasks import _random_states_kept
from ..errors import InputError
from ..store import cache_dir, content_hash
from .tasks import Task, UnknownTask

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from mteb.abstasks.task_metadata import TaskMetadata

SILENCE = 60.0
"""Seconds for which a hub that did not answer is not asked again."""
_silent_since = [-SILENCE]

TEXT_TYPES = (
    "STS",
    "Retrieval",
    "Reranking",
    "Classification",
    "Clustering",
    "PairClassification",
    "MultilabelClassification",
    "Summarization",
    "BitextMining",
    "InstructionRetrieval",
    "InstructionReranking",
    "Regression",
)


@functools.cache
def registry() -> dict[str, type[AbsTask]]:
    """All text tasks of the installed mteb by name. Takes seconds the first time."""
    with _random_states_kept():
        from mteb import AbsTask, tasks
        from mteb.abstasks.aggregated_task import AbsTaskAggregate
    found = {}
    for value in vars(tasks).values():
        if isinstance(value, type) and issubclass(value, AbsTask) and not issubclass(value, AbsTaskAggregate):
            metadata = value.metadata
            if metadata.type in TEXT_TYPES and list(metadata.modalities) == ["text"]:
                found[metadata.name] = value
    return found


def official(name: str, split: str, subset: str, data_dir: Path | None) -> Task:
    """An official task. Raises `UnknownTask`, and `InputError` for a split or subset it does not have."""
    kind = registry().get(name)
    if kind is None:
        close = difflib.get_close_matches(name, registry(), 1, 0.6)
        raise UnknownTask(f" (did you mean {close[0]}?)" if close else "")
    metadata = kind.metadata
    split = _choose("split", split, list(metadata.eval_splits), ("test",), name)
    subset = _choose("subset", subset, list(metadata.hf_subsets), ("default", "en", "eng", "en-en"), name)
    folder = None if data_dir is None else local_folder(metadata, data_dir)
    where = ("hub", metadata.dataset["path"], metadata.dataset["revision"])
    key = content_hash(("local", *_file_parts(folder)) if folder else where)
    size = published_statistics(metadata, split, subset) or {}

    def load() -> AbsTask:
        return _load(kind, split, subset, folder, data_dir)

    return Task(
        name=name,
        type=metadata.type,
        metric=metadata.main_score,
        split=split,
        subset=subset,
        languages=tuple(metadata.languages if subset == "default" else _languages(metadata, subset)),
        source="local" if folder else "hub",
        key=key,
        load=load,
        characters=characters(size, kind),
        samples=size.get("num_samples"),
        instruction=instruction(kind),
    )


def _choose(what: str, asked: str, there: list[str], preferred: tuple[str, ...], name: str) -> str:
    if asked:
        if asked not in there:
            raise InputError(f"task {name} has no {what} '{asked[:40]}'; it has: {', '.join(there)}")
        return asked
    return next((candidate for candidate in preferred if candidate in there), there[0])


def _languages(metadata: TaskMetadata, subset: str) -> list[str]:
    return sorted({code.split("-")[0] for code in metadata.hf_subsets_to_langscripts.get(subset, [])})


def instruction(kind: type[AbsTask]) -> str:
    """What the task asks for, in mteb's words: E5-mistral's, from which the paper's differ by full stops mostly."""
    prompt: Any = kind.metadata.prompt
    if isinstance(prompt, Mapping):
        prompt = prompt.get("query") or next(iter(prompt.values()), "")
    return str(prompt or getattr(kind, "abstask_prompt", "") or "")


# ---- local data ----------------------------------------------------------------------------------------------------


def local_folder(metadata: TaskMetadata, data_dir: Path) -> Path | None:
    """The folder of a task's data, by the name of its data set or of the task; None if there is none."""
    path = metadata.dataset["path"]
    for name in (path, path.replace("/", "__"), Path(path).name, metadata.name):
        if (data_dir / name).is_dir():
            return data_dir / name
    return None


def _file_parts(folder: Path) -> Iterator[str | bytes]:
    """Names and contents of all files, in order."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file.relative_to(folder).as_posix()
            yield file.read_bytes()


def _load(kind: type[AbsTask], split: str, subset: str, folder: Path | None, data_dir: Path | None) -> AbsTask:
    made = kind()
    made.filter_eval_splits([split])
    made.hf_subsets = [subset]
    name = made.metadata.name
    if folder is not None:
        dataset = {**made.metadata.dataset, "path": str(folder.resolve())}
        made.metadata = made.metadata.model_copy(update={"dataset": dataset})
    try:
        with _own_cache(folder) if folder is not None else _offline_if_unreachable(made.metadata.dataset["path"]):
            made.load_data()
    except Exception as error:  # whatever a data set of the world or a loader raises
        raise InputError(_why_not(name, folder, data_dir, error)) from error
    where = made.dataset or {}
    data = where.get(subset, where) if isinstance(where, Mapping) else where
    for part in dict.fromkeys((split, getattr(made, "train_split", split))):
        if part not in data:
            raise InputError(f"the data of {name} has no split '{part}'; it has: {', '.join(map(str, data))}")
    return made


@contextlib.contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """Local data is converted in a folder of ours named after its content: datasets itself goes by the files' times."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = cache_dir("evaluation", "data", content_hash(_file_parts(folder))[:16])
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before


@contextlib.contextmanager
def _offline_if_unreachable(path: str) -> Iterator[None]:
    """Ask the hub once: where it does not answer, the loaders would ask again for half a minute for each task.

    What was downloaded before is then taken from the hub client's cache.
    """
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not _hub_answers(path):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _hub_answers(path: str) -> bool:
    """Whether the hub can be asked about a data set; a "no" holds for `SILENCE` seconds."""
    import httpx2  # the hub client's transport
    from huggingface_hub import HfApi, errors

    if time.monotonic() - _silent_since[0] < SILENCE:
        return False
    try:
        HfApi().dataset_info(path, timeout=10)
    except errors.HfHubHTTPError:
        return True  # whatever it answers, it does; loading tells the rest
    except (errors.OfflineModeIsEnabled, httpx2.HTTPError, OSError):
        _silent_since[0] = time.monotonic()
        return False
    return True


def _why_not(name: str, folder: Path | None, data_dir: Path | None, error: Exception) -> str:
    """One sentence on why a data set cannot be loaded."""
    import huggingface_hub.errors
    import requests

    if folder is not None:
        inner: BaseException = error
        while inner.__cause__ is not None:  # datasets wraps what went wrong
            inner = inner.__cause__
        first = " ".join(str(inner).split())[:200] or type(inner).__name__
        return f"the local data of {name} in '{folder.name}' cannot be read as its data set on the hub can: {first}"
    there = "" if data_dir is None else f" is not in '{data_dir}', and"
    offline = (ConnectionError, OSError, requests.RequestException, huggingface_hub.errors.OfflineModeIsEnabled)
    if isinstance(error, offline) or "reach" in str(error):
        return f"the data of {name}{there} cannot be had from the hub, which does not answer; give it with --data-dir"
    first = " ".join(str(error).split())[:200] or type(error).__name__
    return f"the data of {name}{there} cannot be loaded from the hub: {first}"


# ---- is it the official data? --------------------------------------------------------------------------------------


def published_statistics(metadata: TaskMetadata, split: str, subset: str) -> Mapping[str, Any] | None:
    """What mteb says about a split of the official data; None if it says nothing."""
    stats = (metadata.descriptive_stats or {}).get(split)
    if stats is None:
        return None
    by_subset = stats.get("hf_subset_descriptive_stats") or {}
    return by_subset.get(subset) if metadata.is_multilingual else stats


def characters(stats: Mapping[str, Any], kind: Any = None) -> int | None:
    """Characters that are encoded for a split, by mteb's statistics; None if they do not tell."""
    total = stats.get("number_of_characters")
    if total is None:
        parts = [part.get("total_text_length", 0) for key, part in stats.items() if _is_text(key, part)]
        total = sum(parts) if parts else None
    if total is not None and kind is not None and hasattr(kind, "samples_per_label"):
        labels = (stats.get("label_statistics") or {}).get("unique_labels") or 2
        mean = total / max(1, stats.get("num_samples") or 1)
        total += mean * labels * kind.samples_per_label * kind.n_experiments  # at most: the draws overlap
    fraction = getattr(kind, "max_fraction_of_documents_to_embed", None)
    return None if total is None else int(total * fraction if fraction else total)


def _is_text(key: str, part: Any) -> bool:
    return key.endswith("text_statistics") and isinstance(part, Mapping)


@dataclass(frozen=True)
class DataCheck:
    """Whether loaded data is the official one."""

    sentence: str
    comparable: bool
    """Whether a score on it may stand beside published ones: it is official, or the same but for some characters."""


OFFICIAL = DataCheck("the official data", True)
ALIKE = 0.03
"""By how much texts' lengths and the number of different ones may differ in a copy of the same examples, of which a
conversion changed white space or punctuation. More is other data."""


def check_official(made: AbsTask, split: str, subset: str) -> DataCheck:
    """Compares all numbers of mteb's descriptive statistics: how many texts, how long, how many different, what labels.

    Counts and labels must be equal; see `ALIKE` for texts.
    """
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars that nothing else turns off
        return _check(made, split, subset)


def _check(made: AbsTask, split: str, subset: str) -> DataCheck:
    metadata = made.metadata
    train = getattr(made, "train_split", None)
    slight = ""
    for part in dict.fromkeys(s for s in (split, train) if s):
        expected = published_statistics(metadata, part, subset)
        if expected is None:
            if part == split:
                return DataCheck(
                    "mteb has no statistics of this task, so whether the data is official is unknown", False
                )
            continue
        try:
            # The public method computes all splits and subsets, of which only some need be here.
            found = made._calculate_descriptive_statistics_from_split(
                part, hf_subset=subset if metadata.is_multilingual else None
            )
        except Exception as error:  # other columns than the official ones
            why = f"its {part} split cannot be described ({type(error).__name__})"
            return DataCheck(f"this is not the official data: {why}", False)
        for told, alike in _differences(json.loads(json.dumps(found)), json.loads(json.dumps(expected))):
            if not alike:
                return DataCheck(f"this is not the official data: in its {part} split {told}", False)
            slight = slight or f"in its {part} split {told}"
    if slight:
        return DataCheck(f"the official examples, but not letter by letter: {slight}", True)
    return OFFICIAL


def _differences(found: Any, expected: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Every number that differs, in words, and whether that may be mere white space."""
    if isinstance(expected, Mapping):
        for key, value in expected.items():
            if key != "hf_subset_descriptive_stats":
                inner = found.get(key) if isinstance(found, Mapping) else None
                yield from _differences(inner, value, f"{path} {key}".strip().replace("_", " "))
    elif isinstance(expected, int | float) and not isinstance(expected, bool):
        if not isinstance(found, int | float):
            yield f"{path} is missing", False
        elif not math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9):
            of_text = any(word in path for word in ("text length", "characters", "unique texts", "unique pairs"))
            extreme = "min text" in path or "max text" in path
            alike = of_text and (extreme or math.isclose(found, expected, rel_tol=ALIKE))
            yield f"{path} is {found:,}, not {expected:,}", alike
