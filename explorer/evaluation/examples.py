"""What a variant did with every example of a task: kept, so that the worst can be looked at and differences tested.

What is kept depends on the task's type:

    ranking         per query nDCG@10 and the ten best documents        (Retrieval, Reranking)
    pairs           per pair similarity and gold score or label         (STS, PairClassification)
    classification  per text gold label and predicted labels            (Classification)

On disk: one .npz, written whole. Other types have no per-example results.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..store import whole_file

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

Kind = Literal["ranking", "pairs", "classification"]
TOP = 10


@dataclass(frozen=True, eq=False)
class Examples:
    """Per-example results of one variant on one task; arrays have one row an example, in the task's order."""

    kind: Kind
    metric: str
    """What `values` measure, or for pairs what is computed from all of them."""
    ids: tuple[str, ...]
    values: np.ndarray
    """float [n]: nDCG@10, similarity, or share of the classifiers that were right."""
    gold: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Pairs: score or label, float [n]; classification: label number, int [n]."""
    predicted: np.ndarray = field(default_factory=lambda: np.empty((0, 0), int))
    """Classification: label numbers [experiments, n]."""
    top: tuple[tuple[str, ...], ...] = ()
    """Ranking: ids of the ten best documents of each query."""
    texts: tuple[str, ...] = ()
    """The query, the text, or the two texts of a pair with a line end between them."""
    labels: tuple[str, ...] = ()
    """Classification: names of the labels, by number; empty where numbers are all there is."""

    def __len__(self) -> int:
        return len(self.ids)

    def worst(self, count: int = 10) -> list[dict[str, Any]]:
        """The examples that went worst, worst first, as rows for a table.

        Ranking: lowest nDCG@10. Classification: fewest right. Pairs: the largest distance between the place of the
        similarity and the place of the gold score among all pairs.
        """
        badness = self.badness
        order = np.argsort(-badness, kind="stable")[:count]
        return [self._row(int(i), float(badness[i])) for i in order]

    @property
    def badness(self) -> np.ndarray:
        """float [n]: how bad each went, 0 is perfect, at most 1."""
        if self.kind != "pairs":
            return 1 - self.values
        from scipy.stats import rankdata

        return np.abs(rankdata(self.values) - rankdata(self.gold)) / len(self.values)

    def _row(self, i: int, badness: float) -> dict[str, Any]:
        row: dict[str, Any] = {"id": self.ids[i], "text": self.texts[i] if self.texts else "", "badness": badness}
        if self.kind == "ranking":
            return {**row, "ndcg_at_10": float(self.values[i]), "top": list(self.top[i])}
        if self.kind == "pairs":
            return {**row, "similarity": float(self.values[i]), "gold": float(self.gold[i])}
        wrong = [int(p) for p in self.predicted[:, i] if p != self.gold[i]]
        said = max(set(wrong), key=wrong.count) if wrong else int(self.gold[i])
        return {
            **row,
            "right": float(self.values[i]),
            "gold": self._label(int(self.gold[i])),
            "said": self._label(said),
        }

    def _label(self, number: int) -> str:
        return self.labels[number] if 0 <= number < len(self.labels) else str(number)

    def save(self, path: Path) -> None:
        """Write the .npz whole or not at all."""
        words = {"kind": self.kind, "metric": self.metric, "ids": self.ids, "top": self.top}
        text = json.dumps({**words, "texts": self.texts, "labels": self.labels}, ensure_ascii=True)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                words=np.frombuffer(text.encode("ascii"), np.uint8),
                values=self.values.astype(np.float64),
                gold=self.gold,
                predicted=self.predicted.astype(np.int32),
            )

    @classmethod
    def load(cls, path: Path) -> Examples | None:
        """What `save` wrote; None if it is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                words = json.loads(stored["words"].tobytes())
                words |= {"ids": tuple(words["ids"]), "top": tuple(map(tuple, words["top"]))}
                words |= {"texts": tuple(words["texts"]), "labels": tuple(words["labels"])}
                return cls(values=stored["values"], gold=stored["gold"], predicted=stored["predicted"], **words)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None


class Recorder:
    """Listens to an mteb task while it is evaluated. Use `folder` as `prediction_folder`; nothing is written there."""

    folder = Path("predictions")

    def __init__(self, made: AbsTask, split: str, subset: str) -> None:
        self._made, self._split, self._subset = made, split, subset
        self._found: Callable[[], Examples | None] = lambda: None
        # Instead of files: a retrieval task's predictions are 1,000 documents a query, hundreds of megabytes of JSON.
        made._save_task_predictions = self._predictions  # type: ignore[method-assign]
        if hasattr(made, "task_specific_scores"):
            self._inner = made.task_specific_scores
            made.task_specific_scores = self._ranking

    @property
    def examples(self) -> Examples | None:
        """What was heard; None for types of tasks that have nothing to say about single examples."""
        return self._found()

    def _data(self) -> Any:
        where: Any = self._made.dataset
        found = where.get(self._subset, where)
        return found[self._split]

    def _ranking(self, scores: Mapping[str, Mapping[str, float]], qrels: Any, results: Any, **more: Any) -> Any:
        texts = dict(zip(self._data()["queries"]["id"], self._data()["queries"]["text"], strict=True))
        ids = tuple(scores)
        best = {q: sorted(results[q].items(), key=lambda item: (-item[1], item[0])) for q in ids}
        found = Examples(
            "ranking",
            "ndcg_at_10",
            ids,
            np.array([scores[q]["ndcg_cut_10"] for q in ids]),
            top=tuple(tuple(d for d, _ in best[q][:TOP]) for q in ids),
            texts=tuple(str(texts.get(q, "")) for q in ids),
        )
        self._found = lambda: found
        return self._inner(scores, qrels, results, **more)

    def _predictions(self, predictions: Any, *_: Any, **__: Any) -> None:
        kind = self._made.metadata.type
        if kind == "STS":
            self._found = lambda: self._pairs(predictions["cosine_scores"], "score", "spearman")
        elif kind == "PairClassification":
            self._found = lambda: self._pairs(predictions.get("cosine_scores"), "labels", "average_precision")
        elif kind == "Classification" and not getattr(self._made, "is_cross_validation", False):
            self._found = lambda: self._classified(predictions)

    def _pairs(self, similarities: Any, column: str, metric: str) -> Examples | None:
        data = self._data()
        if similarities is None or column not in data.column_names:
            return None
        names = getattr(self._made, "column_names", None) or ("sentence1", "sentence2")
        gold = np.asarray(data[column], float)
        if gold.shape != (len(similarities),) or not all(isinstance(n, str) and n in data.column_names for n in names):
            return None
        texts = tuple(f"{a}\n{b}" for a, b in zip(data[names[0]], data[names[1]], strict=True))
        ids = tuple(str(i) for i in range(1, len(gold) + 1))
        return Examples("pairs", metric, ids, np.asarray(similarities, float), gold, texts=texts)

    def _classified(self, predictions: Any) -> Examples | None:
        data, made = self._data(), self._made
        gold = np.asarray(data[made.label_column_name])  # type: ignore[attr-defined]
        labels = tuple(getattr(made, "label_names", ()))
        predicted = np.asarray(predictions)
        if gold.ndim != 1 or predicted.ndim != 2 or predicted.shape[1] != len(gold):
            return None
        if gold.dtype.kind not in "iu":  # labels that are texts: number them
            labels = tuple(sorted({str(label) for label in (*gold, *predicted.ravel())}))
            number = {label: i for i, label in enumerate(labels)}
            gold = np.array([number[str(label)] for label in gold])
            predicted = np.array([[number[str(label)] for label in row] for row in predicted])
        column = made.input_column_name  # type: ignore[attr-defined]
        texts = tuple(map(str, data[column])) if isinstance(column, str) else ()
        ids = tuple(str(i) for i in range(1, len(gold) + 1))
        right = (predicted == gold).mean(axis=0)
        return Examples("classification", "accuracy", ids, right, gold, predicted, texts=texts, labels=labels)
