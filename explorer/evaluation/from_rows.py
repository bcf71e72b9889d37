"""Tasks made of rows: judged queries, labelled texts, scored pairs. Their data may be built in or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..comparison import has_relevant
from ..corpora import Corpus
from ..errors import InputError
from ..store import content_hash
from .tasks import DataSource, Task, new_task

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

Labelled = list[tuple[str, str]]
"""(text, label)."""


def _hash(rows: Any) -> str:
    return content_hash(part for row in rows for part in row)


def retrieval_task(name: str, corpus: Corpus, instruction: str, source: DataSource, corpus_name: str = "") -> Task:
    """Make a task of searching a corpus with its judged queries.

    Queries that are documents do not find themselves (corpora/itself.py), as in mteb's tasks of that kind; queries
    without a relevant document do not count.

    Args:
        name: The task's name.
        corpus: Documents, queries and judgments.
        instruction: What the task asks for.
        source: Whose data it is.
        corpus_name: Under which Compare opens the corpus; empty where it cannot.

    Returns:
        The task.

    Raises:
        InputError: No query has a relevant document.
    """
    judged = {q: grades for q in corpus.qrels if has_relevant(grades := corpus.judged(q))}
    queries = {q: corpus.queries[q] for q in judged if corpus.queries[q].strip()}
    qrels = {q: judged[q] for q in queries}
    if not queries:
        raise InputError(f"'{corpus.name}' has no query with a relevant document, so there is nothing to evaluate")
    itself = sorted(corpus.itself & set(queries))
    known = _ids_for_mteb(corpus, queries)

    def load() -> AbsTask:
        from datasets import Dataset
        from mteb.abstasks import AbsTaskRetrieval

        data = {
            "corpus": Dataset.from_dict({"id": corpus.ids, "text": corpus.passages, "title": [""] * len(corpus)}),
            "queries": Dataset.from_dict({"id": [known[q] for q in queries], "text": list(queries.values())}),
            "relevant_docs": {known[q]: dict(j) for q, j in qrels.items()},
            "top_ranked": None,
        }
        description = f"Searching {corpus.name} with {len(queries)} judged queries."
        dataset = {"default": {"test": data}}
        flags = {"ignore_identical_ids": bool(itself)}
        return new_task(AbsTaskRetrieval, name, "Retrieval", "ndcg_at_10", description, instruction, dataset, flags)

    rows = [(q, d, str(g)) for q, j in sorted(qrels.items()) for d, g in sorted(j.items())]
    size = sum(map(len, corpus.passages)) + sum(map(len, queries.values()))
    key = content_hash((corpus.content_hash, _hash(sorted(queries.items())), _hash(rows), *itself))
    notes = (f"{len(itself):,} of the queries are documents, which do not find themselves",) if itself else ()
    return Task(
        name,
        "Retrieval",
        "ndcg_at_10",
        "test",
        "default",
        ("eng",),
        source,
        key,
        load,
        size,
        len(corpus) + len(queries),
        instruction,
        lambda: corpus,
        corpus_name,
        (*corpus.notes, *notes),
    )


def _ids_for_mteb(corpus: Corpus, queries: Mapping[str, str]) -> dict[str, str]:
    """Name queries so that mteb, which goes by ids alone, leaves out no other document than the query itself.

    Args:
        corpus: The documents.
        queries: Id -> text.

    Returns:
        Id -> id; another one only where some queries are documents, and this one is merely numbered as one is.
    """
    known = {}
    for id in queries:
        new = id
        while corpus.itself and new in corpus.position and new not in corpus.itself:
            new = f"query {new}"
        known[id] = new
    return known


def classification_task(
    name: str, train: Labelled, test: Labelled, instruction: str, source: DataSource, notes: tuple[str, ...] = ()
) -> Task:
    """Learning labels from a few examples of each (logistic regression on frozen vectors, as mteb does)."""
    labels = sorted({label for _, label in train})
    check_labels(name, train)
    unknown = sorted({label for _, label in test} - set(labels))
    if unknown:
        raise InputError(f"the test part of '{name}' has the label '{unknown[0][:60]}', which its train part lacks")
    number = {label: i for i, label in enumerate(labels)}

    def load() -> AbsTask:
        from datasets import Dataset, DatasetDict
        from mteb.abstasks import AbsTaskClassification

        def part(rows: Labelled) -> Dataset:
            return Dataset.from_dict({"text": [t for t, _ in rows], "label": [number[label] for _, label in rows]})

        data = DatasetDict({"train": part(train), "test": part(test)})
        description = f"{len(labels)} labels, {len(train)} texts to learn from, {len(test)} to test with."
        made = new_task(
            AbsTaskClassification, name, "Classification", "accuracy", description, instruction, {"default": data}
        )
        made.label_names = labels  # type: ignore[attr-defined]
        return made

    size = sum(len(text) for text, _ in (*train, *test))
    key = content_hash((_hash(train), _hash(test)))
    return Task(
        name,
        "Classification",
        "accuracy",
        "test",
        "default",
        ("eng",),
        source,
        key,
        load,
        size,
        len(train) + len(test),
        instruction,
        notes=notes,
    )


def clustering_task(
    name: str, rows: Labelled, instruction: str, source: DataSource, notes: tuple[str, ...] = ()
) -> Task:
    """Grouping texts by k-means and comparing the groups with the labels."""
    labels = sorted({label for _, label in rows})
    check_labels(name, rows)

    def load() -> AbsTask:
        from datasets import Dataset, DatasetDict
        from mteb.abstasks import AbsTaskClustering

        data = Dataset.from_dict({"sentences": [t for t, _ in rows], "labels": [label for _, label in rows]})
        # mteb embeds 4 % of a data set by default, made for its large ones; samples are drawn with replacement.
        size = {"max_fraction_of_documents_to_embed": None, "max_documents_per_cluster": len(rows)}
        description = f"{len(rows)} texts of {len(labels)} labels."
        dataset = {"default": DatasetDict({"test": data})}
        return new_task(AbsTaskClustering, name, "Clustering", "v_measure", description, instruction, dataset, size)

    size = sum(len(text) for text, _ in rows)
    return Task(
        name,
        "Clustering",
        "v_measure",
        "test",
        "default",
        ("eng",),
        source,
        _hash(rows),
        load,
        size,
        len(rows),
        instruction,
        notes=notes,
    )


def sts_task(
    name: str, pairs: list[tuple[str, str, float]], instruction: str, source: DataSource, notes: tuple[str, ...] = ()
) -> Task:
    """Comparing cosines of pairs with their scores, by rank."""
    scores = [score for _, _, score in pairs]
    if len(pairs) < 2 or min(scores) == max(scores):
        raise InputError(f"'{name}' needs at least two pairs with different scores, for their order is compared")

    def load() -> AbsTask:
        from datasets import Dataset, DatasetDict
        from mteb.abstasks import AbsTaskSTS

        data = {"sentence1": [a for a, _, _ in pairs], "sentence2": [b for _, b, _ in pairs], "score": scores}
        limits: Mapping[str, Any] = {"min_score": min(scores), "max_score": max(scores)}
        dataset = {"default": DatasetDict({"test": Dataset.from_dict(data)})}
        description = f"{len(pairs)} scored pairs."
        return new_task(AbsTaskSTS, name, "STS", "cosine_spearman", description, instruction, dataset, limits)

    size = sum(len(a) + len(b) for a, b, _ in pairs)
    key = content_hash(part for a, b, score in pairs for part in (a, b, repr(score)))
    return Task(
        name,
        "STS",
        "cosine_spearman",
        "test",
        "default",
        ("eng",),
        source,
        key,
        load,
        size,
        len(pairs),
        instruction,
        notes=notes,
    )


def check_labels(name: str, rows: Labelled) -> None:
    """Raises `InputError` if labels cannot be learned or grouped: fewer than two, or none that two texts share."""
    labels = {label for _, label in rows}
    if len(labels) < 2:
        raise InputError(f"'{name}' needs at least two different labels; it has {len(labels)}")
    if len(labels) == len(rows):
        raise InputError(f"'{name}' has a label of its own for every text; at least two texts must share one")
