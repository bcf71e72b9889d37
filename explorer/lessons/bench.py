"""What lessons compute with: the shelf's variants on the built-in corpus `everyday`, with progress and cancel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..comparison import Comparer, ManyQueries
from ..corpora import Corpus
from ..errors import Cancelled
from ..layers.lab import LayerLab, StageProgress
from ..measures import QueryScores
from ..retrieval import DenseIndex
from ..store import Cancel

if TYPE_CHECKING:
    from ..evaluation.triplets import TripletScores

K = 10
LANGUAGE_MODEL, ENCODER = "smollm2/", "minilm/"
"""Where the names of variants on SmolLM2 and on MiniLM begin."""


@dataclass(frozen=True)
class Bench:
    """Measures by variant, nothing twice: vectors are kept on disk."""

    comparer: Comparer
    lab: LayerLab
    corpus: Corpus
    progress: StageProgress
    cancel: Cancel

    def many(self, variants: Sequence[str]) -> ManyQueries:
        """The ten best documents of every judged query, by variant. Raises `Cancelled`."""
        for i, name in enumerate(variants):
            self.progress("variants", i, len(variants))
            self.stop_here()
            self.comparer.index(name, self.corpus, cancel=self.cancel)
        return self.comparer.compare_many(self.corpus, self.judged, list(variants), K, cancel=self.cancel)

    def quality(self, variants: Sequence[str]) -> dict[str, QueryScores]:
        """Measures of every judged query, by variant."""
        found = self.many(variants).quality
        return {name: found[name] for name in variants}

    @cached_property
    def judged(self) -> dict[str, str]:
        """Judged queries, id -> text."""
        from ..layers.probe import judged_queries

        return judged_queries(self.corpus)

    def same_topic(self, variant: str) -> np.ndarray:
        """float [n]: 1 where the document nearest to a document has its topic, else 0."""
        self.stop_here()
        encoder = self.comparer.shelf.load(variant)
        vectors = self.comparer.embeddings.documents(encoder, self.corpus, None, self.cancel)
        _, rows = DenseIndex(vectors).search(np.asarray(vectors), 2)
        own = np.arange(len(self.corpus))
        nearest = np.where(rows[:, 0] == own, rows[:, 1], rows[:, 0])
        labels = np.array([document.label for document in self.corpus.documents])
        return (labels[nearest] == labels).astype(float)

    def triplets(self, variant: str) -> TripletScores:
        """Which of the built-in minimal triplets a variant gets right."""
        from ..evaluation.triplets import score_triplets

        self.stop_here()
        return score_triplets(self.comparer.shelf.load(variant))

    def home(self, designs: Iterable[str]) -> str:
        """Whose variants of these designs are looked at: SmolLM2's where all of them are here, else MiniLM's."""
        shelf = self.comparer.shelf
        names = {variant.name for variant in shelf.variants if variant.backbone in shelf.backbone_ids}
        return LANGUAGE_MODEL if names.issuperset(LANGUAGE_MODEL + name for name in designs) else ENCODER

    def stop_here(self) -> None:
        """Raises `Cancelled` if a visitor stopped the lesson."""
        if self.cancel.is_set():
            raise Cancelled("stopped")
