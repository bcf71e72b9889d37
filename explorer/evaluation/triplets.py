"""Minimal triplets, written for this project: does a text lie nearer to its paraphrase than to its lookalike?

    scores = score_triplets(encoder)
    scores.accuracy, scores.by_kind["negation"]      # share of triplets that are right, 0 to 1

Anchor and positive say the same in other words; the negative looks like the anchor and means something else. Words
shared with the anchor never speak for the positive: they speak for the negative or, where two sentences differ in one
decisive word, for neither. Guessing gives 0.5, counting shared words less. The kinds say where the difference lies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from ..encoder import Encoder
from ..errors import InputError
from ..store import content_hash
from .tasks import Task, new_task

FILE = "triplets.jsonl"
TYPE = "Triplets"
INSTRUCTION = "Retrieve the sentence that says the same"

KINDS = (
    "word order",
    "negation",
    "number",
    "homonym",
    "paraphrase",
    "decisive word at the start",
    "decisive word at the end",
)
"""Where anchor and negative differ; a paraphrase shares no content word with its anchor."""


@dataclass(frozen=True)
class Triplet:
    """Three sentences; the first two mean the same."""

    id: str
    kind: str
    anchor: str
    positive: str
    negative: str


@dataclass(frozen=True, eq=False)
class TripletScores:
    """Which triplets an encoder gets right; `margins` [n] are cos(anchor, positive) - cos(anchor, negative)."""

    triplets: tuple[Triplet, ...]
    margins: np.ndarray

    @cached_property
    def right(self) -> np.ndarray:
        """bool [n]; a tie is wrong."""
        return self.margins > 0

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        return float(self.right.mean())

    @cached_property
    def by_kind(self) -> dict[str, float]:
        """The same, kind by kind, in the order of the triplets."""
        kinds = np.array([t.kind for t in self.triplets])
        return {kind: float(self.right[kinds == kind].mean()) for kind in dict.fromkeys(kinds.tolist())}


def read_triplets() -> tuple[Triplet, ...]:
    """The built-in triplets, kind by kind."""
    text = (files(__package__) / FILE).read_text(encoding="utf-8")
    return tuple(Triplet(**json.loads(line)) for line in text.splitlines())


def score_triplets(encoder: Encoder, triplets: Sequence[Triplet] | None = None) -> TripletScores:
    """How an encoder does on triplets, the built-in ones unless given. Raises `InputError` if there is none.

    All texts are encoded as queries, as in other tasks whose texts are all alike.
    """
    chosen = tuple(read_triplets() if triplets is None else triplets)
    if not chosen:
        raise InputError("accuracy is measured on at least one triplet; got none")
    return TripletScores(chosen, _margins(encoder.encode(_texts(chosen), "query")))


def _texts(triplets: Sequence[Triplet]) -> list[str]:
    """All anchors, then all positives, then all negatives."""
    return [getattr(t, part) for part in ("anchor", "positive", "negative") for t in triplets]


def _margins(vectors: np.ndarray) -> np.ndarray:
    """[n] from unit vectors [3 n, d] in the order of `_texts`."""
    anchor, positive, negative = np.split(np.asarray(vectors), 3)
    return (anchor * positive).sum(1) - (anchor * negative).sum(1)


# ---- a task of Evaluate ----------------------------------------------------------------------------------------------


def triplet_task(name: str) -> Task:
    """The built-in triplets as a task: accuracy over all, and kind by kind in mteb's result file."""
    triplets = read_triplets()
    return Task(
        name,
        TYPE,
        "accuracy",
        "test",
        "default",
        ("eng",),
        "built-in",
        content_hash(part for t in triplets for part in astuple(t)),
        lambda: _mteb_task(name, triplets),
        sum(map(len, _texts(triplets))),
        len(triplets),
        INSTRUCTION,
    )


def _mteb_task(name: str, triplets: Sequence[Triplet]) -> Any:
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTask
    from torch.utils.data import DataLoader

    class TripletTask(AbsTask):
        """mteb has no triplets. To it this is a classification with the labels "positive" and "negative": which of
        the two is nearer? The right answer is always the first, so that accuracy is the share of triplets."""

        label_column_name = "label"
        input_column_name = "text"
        label_names = ("positive", "negative")

        def _evaluate_subset(
            self,
            model: Any,
            data_split: Dataset,
            *,
            hf_split: str,
            hf_subset: str,
            encode_kwargs: Any,
            prediction_folder: Any = None,
            **_: Any,
        ) -> dict[str, float]:
            asked = tuple(Triplet(*(row[key] for key in Triplet.__dataclass_fields__)) for row in data_split)
            loader = DataLoader(Dataset.from_dict({"text": _texts(asked)}), batch_size=256)
            vectors = model.encode(
                loader, task_metadata=self.metadata, hf_split=hf_split, hf_subset=hf_subset, **encode_kwargs
            )
            scores = TripletScores(asked, _margins(vectors))
            if prediction_folder:
                said = (~scores.right).astype(int)[None].tolist()
                self._save_task_predictions(said, model, prediction_folder, hf_split=hf_split, hf_subset=hf_subset)
            return {"accuracy": scores.accuracy, **{f"accuracy ({k})": v for k, v in scores.by_kind.items()}}

        def _calculate_descriptive_statistics_from_split(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    texts = [f"{t.anchor}\n+ {t.positive}\n- {t.negative}" for t in triplets]
    rows = [{**asdict(t), "text": text, "label": 0} for t, text in zip(triplets, texts, strict=True)]
    dataset = {"default": DatasetDict({"test": Dataset.from_list(rows)})}
    description = f"{len(triplets)} sentences, each with a paraphrase and a lookalike of another meaning."
    return new_task(TripletTask, name, "Classification", "accuracy", description, INSTRUCTION, dataset)
