"""Spaces made on the spot for the tests of the maps: documents whose vectors are given, by named variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from explorer.corpora import Corpus, Document
from explorer.errors import InputError
from explorer.variants import Variant


def vectors(n: int, d: int = 16, seed: int = 0, groups: int = 4) -> np.ndarray:
    """n unit vectors [n, d] float32 around a few centres."""
    rng = np.random.default_rng(seed)
    points = 1.5 * rng.standard_normal((groups, d))[np.arange(n) % groups] + rng.standard_normal((n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def corpus(n: int, labels: Sequence[str] | None = None, name: str = "points") -> Corpus:
    """Documents "text 0", "text 1", …, labelled by the groups of `vectors` if nothing else is said."""
    labels = [f"group {i % 4}" for i in range(n)] if labels is None else labels
    documents = (
        Document(f"d{i}", f"text {i}", f"Title {i}", labels[i], {"year": str(1990 + i), "note": "x"}) for i in range(n)
    )
    return Corpus(name, tuple(documents))


class Given:
    """An encoder whose vectors are given: documents by their place in the corpus, queries as the first document."""

    def __init__(self, name: str, given: np.ndarray) -> None:
        self.name, self.given, self.dimension = name, given, given.shape[1]
        self._key = f"{given[:1].tobytes()!r} {len(given)}"
        self.encoded = 0

    def key(self, kind: str) -> str:
        return f"{self.name} {kind} {self._key}"

    def encode(self, texts, kind="document", progress=None, cancel=None) -> np.ndarray:
        self.encoded += 1
        if kind == "query":
            return np.repeat(self.given[:1], len(texts), axis=0)
        assert len(texts) == len(self.given)
        return self.given


class Shelf:
    """Variants "a", "b", … with given vectors, and BM25."""

    def __init__(self, given: Mapping[str, np.ndarray]) -> None:
        self.encoders = {name: Given(name, array) for name, array in given.items()}
        self.variants = [*(Variant(name, "checkpoint") for name in given), Variant("bm25", "lexical")]
        self.defaults = list(given)[:2]
        self.problems: list[str] = []
        self.folders: list[Path] = []

    @property
    def loaded(self) -> list[str]:
        return list(self.encoders)

    def find(self, name: str) -> Variant:
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise InputError(f"no variant '{name}'")

    def load(self, name: str) -> Given:
        if self.find(name).source == "lexical":
            raise InputError(f"'{name}' matches words and makes no vectors")
        return self.encoders[name]

    def memory(self) -> SimpleNamespace:
        return SimpleNamespace(total=0, variants={})

    def notes(self, names: list[str] | None = None) -> dict[str, list[str]]:
        return {}
