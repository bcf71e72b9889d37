"""What there is to choose from: official tasks with type, language, size; a quick menu; what lies in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import InputError
from .builtin import BUILT_IN
from .official import local_folder, official, registry
from .tasks import Task, make_tasks

QUICK: Mapping[str, tuple[str, ...]] = {
    "STS": ("STSBenchmark", "BIOSSES", "SICK-R"),
    "Retrieval": ("NFCorpus", "SciFact", "ArguAna", "XQuADRetrieval"),
    "Classification": ("Banking77Classification", "EmotionClassification", "TweetSentimentExtractionClassification"),
    "Clustering": ("TwentyNewsgroupsClustering.v2", "MedrxivClusteringP2P.v2"),
    "PairClassification": ("TwitterSemEval2015", "SprintDuplicateQuestions"),
    "Reranking": ("AskUbuntuDupQuestions", "StackOverflowDupQuestions"),
}
"""Small English tasks by type: minutes on a processor with a small model."""


def official_tasks(type: str = "", language: str = "", data_dir: Path | None = None) -> list[Task]:
    """All official text tasks by name, of a type and a language (three letters) if given.

    Each with the split and subset that would be evaluated. Raises `InputError` for a type or language there is none of.
    """
    names = sorted(registry(), key=str.lower)
    kinds = sorted({registry()[name].metadata.type for name in names})
    if type and type not in kinds:
        raise InputError(f"no task type '{type[:40]}'; there are: {', '.join(kinds)}")
    found = []
    for name in names:
        metadata = registry()[name].metadata
        if (not type or metadata.type == type) and (not language or language in metadata.languages):
            found.append(official(name, "", subset_of(name, language), data_dir))
    if not found:
        raise InputError(f"no task is in the language '{language[:20]}'; give three letters, as in eng or deu")
    return found


def subset_of(name: str, language: str) -> str:
    """The first subset of a task in that language alone, else with it; empty: the task's own choice."""
    if not language:
        return ""
    subsets = registry()[name].metadata.hf_subsets_to_langscripts
    codes = {subset: {code.split("-")[0] for code in langs} for subset, langs in subsets.items()}
    alone = [subset for subset, langs in codes.items() if langs == {language}]
    return next(iter(alone or [subset for subset, langs in codes.items() if language in langs]), "")


def built_in_tasks() -> list[Task]:
    """The tasks that need no download. A few seconds: their corpora are read."""
    return list(make_tasks(list(BUILT_IN))[0].values())


def quick_menu(data_dir: Path | None = None) -> list[str]:
    """What is preselected: built-in tasks, and with a folder of local data the tasks of the menu that are in it."""
    here = local_tasks(data_dir) if data_dir else []
    return [*BUILT_IN, *(name for names in QUICK.values() for name in names if name in here)]


def local_tasks(data_dir: Path) -> list[str]:
    """Official tasks whose data lies in a folder, by name. Of several versions of one data set all are named.

    Raises `InputError` if the folder does not exist.
    """
    if not data_dir.is_dir():
        raise InputError(f"the data folder '{data_dir}' does not exist")
    return sorted(name for name, kind in registry().items() if local_folder(kind.metadata, data_dir))


def total_characters(tasks: Iterable[Task]) -> int:
    """What these tasks encode, as far as they tell."""
    return sum(task.characters or 0 for task in tasks)
