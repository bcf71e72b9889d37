"""Tasks that need no download: searching, grouping and sorting what is installed.

PythonStdlibRetrieval        judged queries on the docstrings of the standard library
PythonStdlibClustering       its docstrings, grouped by module
PythonStdlibClassification   its docstrings, by module
MtebTasksClustering          descriptions of mteb's tasks, grouped by type
MinimalTriplets              sentences, each with a paraphrase and a lookalike of another meaning
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from ..corpora import Corpus
from ..corpora.library import Library
from .from_rows import Labelled, classification_task, clustering_task, retrieval_task
from .tasks import Task
from .triplets import triplet_task

LABEL_SIZE = (40, 100)
"""Labels with fewer texts are left out, of larger ones so many are drawn: modules differ much in size."""

TEST_SHARE = 0.5
SEED = 20240902

RETRIEVE = "Given a question, retrieve documentation that answers it"
GROUP = "Identify the category of the given documentation"
GROUP_TASKS = "Identify the kind of task that the given description is of"


def built_in(name: str) -> Task:
    """The built-in task of that name."""
    return BUILT_IN[name](name)


def _retrieval(name: str) -> Task:
    return retrieval_task(name, Library().open("python-stdlib"), RETRIEVE, "built-in", "python-stdlib")


def _clustering(name: str) -> Task:
    return clustering_task(name, labelled(Library().open("python-stdlib")), GROUP, "built-in")


def _classification(name: str) -> Task:
    return classification_task(name, *split(labelled(Library().open("python-stdlib"))), GROUP, "built-in")


def _task_types(name: str) -> Task:
    return clustering_task(name, labelled(Library().open("mteb-tasks")), GROUP_TASKS, "built-in")


BUILT_IN: dict[str, Callable[[str], Task]] = {
    "PythonStdlibRetrieval": _retrieval,
    "PythonStdlibClustering": _clustering,
    "PythonStdlibClassification": _classification,
    "MtebTasksClustering": _task_types,
    "MinimalTriplets": triplet_task,
}


def labelled(corpus: Corpus) -> Labelled:
    """Texts with labels of a corpus: labels of some size only, none dominating. The same each time.

    Titles are left out where they are the id, which gives the label away (`shutil.rmtree` is of shutil).
    """
    low, high = LABEL_SIZE
    counts = Counter(d.label for d in corpus.documents if d.label and d.text.strip())
    chosen = random.Random(SEED)
    rows: dict[str, list[str]] = {}
    for document in corpus.documents:
        if document.text.strip() and counts[document.label] >= low and document.label:
            text = document.text if document.title == document.id else document.passage
            rows.setdefault(document.label, []).append(text)
    kept = {label: sorted(chosen.sample(texts, min(high, len(texts)))) for label, texts in sorted(rows.items())}
    return [(text, label) for label, texts in kept.items() for text in texts]


def split(rows: Labelled) -> tuple[Labelled, Labelled]:
    """Train and test part, label by label; a label with a single text is in neither."""
    chosen, train, test = random.Random(SEED), list[tuple[str, str]](), list[tuple[str, str]]()
    by_label: dict[str, list[str]] = {}
    for text, label in rows:
        by_label.setdefault(label, []).append(text)
    for label, texts in by_label.items():
        texts = list(dict.fromkeys(texts))
        if len(texts) < 2:
            continue
        chosen.shuffle(texts)
        cut = max(1, round(TEST_SHARE * len(texts)))
        test += [(text, label) for text in texts[:cut]]
        train += [(text, label) for text in texts[cut:]]
    return train, test
