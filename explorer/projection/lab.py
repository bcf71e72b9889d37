"""The Map service: what the command line and the page ask for, by the names of variants and corpora.

    lab = MapLab(Comparer(Shelf()))
    space = lab.draw(corpus, ["minilm-published", "eos-causal"], MapSettings(method="umap"))
    space.positions["minilm-published"]                       # [n, 2], the second map laid over the first
    lab.measure(space)["minilm-published"].trustworthiness

Neighbours and UMAP positions are computed once for a corpus, weights and settings and kept on disk; the last ones are
held in memory. Thread-safe.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from ..comparison import Comparer
from ..corpora import Corpus
from ..errors import Cancelled, InputError
from ..layers.lab import StageProgress
from ..retrieval import APPROXIMATE_FROM, DenseIndex, Found
from ..retrieval import Kind as IndexKind
from ..store import Cancel, content_hash
from ..styles import label
from . import layout, neighbours, quality, shading
from .kept import FORMAT, Kept
from .layout import Plane, Turn

MOST_MAPS = 4
"""Maps that stand side by side."""
MOST_NEIGHBOURS = 100

Method = Literal["umap", "pca"]


@dataclass(frozen=True)
class MapSettings:
    """What decides a map besides corpus and variants. Raises `InputError`."""

    method: Method = "umap"
    neighbours: int = 15
    """Nearest neighbours: what UMAP keeps together, and what change and quality are measured with."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"unknown method '{str(self.method)[:40]}'; known: {', '.join(get_args(Method))}")
        if not 2 <= self.neighbours <= MOST_NEIGHBOURS:
            raise InputError(f"neighbours must be between 2 and {MOST_NEIGHBOURS}, not {self.neighbours}")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"the seed must be between 0 and {2**31 - 1}, not {self.seed}")


@dataclass(frozen=True)
class Space:
    """Maps of one corpus side by side, by variant, all laid over the first one."""

    corpus: Corpus
    settings: MapSettings
    positions: Mapping[str, np.ndarray]
    """float32 [n, 2]"""
    planes: Mapping[str, Plane]
    turns: Mapping[str, Turn]
    drawn: Method
    """PCA also where UMAP was asked for and there is nothing for it to arrange."""
    notes: tuple[str, ...]
    """Sentences that a reader of the picture must know."""
    key: str
    """The same for the same documents, weights and settings."""

    @property
    def names(self) -> list[str]:
        """Variants, left to right."""
        return list(self.positions)

    @property
    def explained(self) -> dict[str, float]:
        """Share of the variance that the two axes of a PCA show, by variant."""
        return {name: plane.explained for name, plane in self.planes.items()}


@dataclass(frozen=True)
class Star:
    """A query on one variant's map: where it stands, and its best documents."""

    xy: tuple[float, float]
    rows: tuple[int, ...]
    scores: tuple[float, ...]


class MapLab:
    """Draws and measures the spaces of a shelf's variants."""

    def __init__(self, comparer: Comparer) -> None:
        self.comparer = comparer
        self.kept = Kept()

    # -- which variants

    def names(self, variants: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        """Full names of the variants that can be drawn, and sentences on those that cannot. Raises `InputError`."""
        found = list(dict.fromkeys(self.comparer.shelf.find(name).name for name in variants))
        dense = [name for name in found if self.comparer.shelf.find(name).source != "lexical"]
        notes = []
        if len(dense) < len(found):
            notes.append("BM25 matches words and has no vectors, so it has no map.")
        if not dense:
            raise InputError("choose at least one variant that makes vectors; BM25 has none, so it has no map")
        if len(dense) > MOST_MAPS:
            left = ", ".join(label(name) for name in dense[MOST_MAPS:])
            notes.append(f"At most {MOST_MAPS} maps stand side by side; left out: {left}.")
        return dense[:MOST_MAPS], tuple(notes)

    # -- vectors and neighbours

    def vectors(
        self, variant: str, corpus: Corpus, progress: StageProgress | None = None, cancel: Cancel | None = None
    ) -> np.ndarray:
        """Unit vectors [n, d] of the documents. Raises `InputError`, `Cancelled`."""
        encoder = self.comparer.shelf.load(variant)
        stage = _stage(f"encoding with {label(variant)}", progress)
        return self.comparer.embeddings.documents(encoder, corpus, stage, cancel)

    def neighbours(
        self,
        variant: str,
        corpus: Corpus,
        k: int,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Found:
        """The k nearest documents of every document in the original space: (scores, rows), both [n, min(k, n-1)].

        Exact; above 100,000 documents from a graph (HNSW), which may miss some.
        """

        def compute(report: StageProgress) -> Found:
            vectors = self.vectors(variant, corpus, report, cancel)
            kind: IndexKind = "exact" if len(corpus) <= APPROXIMATE_FROM else "hnsw"
            index = self.comparer.index(variant, corpus, kind, None, cancel)
            assert isinstance(index, DenseIndex)
            stage = partial(report, f"neighbours with {label(variant)}")
            return neighbours.neighbours(index, vectors, k, stage, cancel)

        key = (*self._key(variant, corpus), "neighbours", k)
        scores, rows = self.kept.stored(key, compute, progress, cancel, corpus.vectors)
        return scores, rows

    def nearest(self, variant: str, corpus: Corpus, document: str, k: int = 10) -> list[tuple[str, float]]:
        """The k nearest documents of one in the original space, as (id, cosine). Raises `InputError`."""
        row = corpus.position[corpus.document(document).id]
        vectors = self.vectors(variant, corpus)
        index = self.comparer.index(variant, corpus)
        if not isinstance(index, DenseIndex):
            raise InputError("BM25 has no vectors, so documents have no neighbours with it")
        scores, rows = index.search(vectors[row : row + 1], min(k, len(corpus) - 1) + 1)
        found = [(corpus.ids[r], float(s)) for s, r in zip(scores[0], rows[0], strict=True) if r not in (row, -1)]
        return found[:k]

    def change(
        self,
        corpus: Corpus,
        a: str,
        b: str,
        k: int,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> np.ndarray:
        """1 - Jaccard similarity of each document's k nearest with variant a and with variant b: float [n]."""
        found = [self.neighbours(name, corpus, k, progress, cancel)[1] for name in (a, b)]
        return neighbours.change(*found)

    # -- maps

    def draw(
        self,
        corpus: Corpus,
        variants: Sequence[str],
        settings: MapSettings,
        progress: StageProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Space:
        """The maps of up to four variants, laid over the first. Raises `InputError`, `Cancelled`."""
        names, notes = self.names(variants)
        vectors = {name: self.vectors(name, corpus, progress, cancel) for name in names}
        planes: dict[str, Plane] = {}
        for name in names:
            fit = partial(layout.pca, vectors[name], settings.seed)
            planes[name] = self.kept.memory((*self._key(name, corpus), "pca", settings.seed), fit)
        flat = [name for name in names if layout.identical(vectors[name])]
        told = list(notes) + self._told(corpus, settings, flat)
        raw = {name: plane.xy for name, plane in planes.items()}
        arranged = settings.method == "umap" and len(corpus) >= layout.FEWEST and len(flat) < len(names)
        if arranged:
            layout.start_preparing()
            spread = [name for name in names if name not in flat]
            raw |= self._umaps(spread, corpus, settings, planes[spread[0]].xy, progress, cancel)
        turns = {name: layout.turn_onto(raw[name], raw[names[0]]) for name in names}
        key = content_hash(
            [FORMAT, corpus.name, repr(settings), *(part for n in names for part in self._key(n, corpus))]
        )
        positions = {name: turns[name](raw[name]) for name in names}
        return Space(corpus, settings, positions, planes, turns, "umap" if arranged else "pca", tuple(told), key)

    def is_ready(self, corpus: Corpus, names: Sequence[str], settings: MapSettings) -> bool:
        """Whether `draw` need not compute UMAP, because its positions are held or stored."""
        if any(name not in self.comparer.shelf.loaded for name in names):
            return False
        keys = [self._umap_key(name, corpus, settings, names[0]) for name in names]
        return all(self.kept.has(key, corpus.vectors) for key in keys)

    def _told(self, corpus: Corpus, settings: MapSettings, flat: Sequence[str]) -> list[str]:
        """What a reader must know of the picture."""
        n, told = len(corpus), []
        if flat and n > 1:
            told.append(
                f"All documents have the same vector with {', '.join(map(label, flat))}: they lie on one spot there."
            )
        if n == 1:
            told.append("There is only one document, so there is nothing to compare it with.")
        elif settings.method == "umap" and n < layout.FEWEST:
            told.append(f"UMAP needs at least {layout.FEWEST} documents; PCA is shown.")
        elif n <= settings.neighbours:
            told.append(f"There are only {n - 1} neighbours, fewer than the {settings.neighbours} asked for.")
        if n > APPROXIMATE_FROM:
            told.append(f"Above {APPROXIMATE_FROM:,} documents neighbours are found by an approximate index (HNSW).")
        return told

    def _umaps(
        self,
        names: Sequence[str],
        corpus: Corpus,
        settings: MapSettings,
        start: np.ndarray,
        progress: StageProgress | None,
        cancel: Cancel | None,
    ) -> dict[str, np.ndarray]:
        """UMAP positions by variant, begun at the first one's PCA; those not known yet are arranged side by side."""
        keys = {name: self._umap_key(name, corpus, settings, names[0]) for name in names}
        found = {name: self.kept.known(key, corpus.vectors) for name, key in keys.items()}
        if None not in found.values():
            return {name: arrays[0] for name, arrays in found.items() if arrays}
        with self.kept.turn(progress, cancel) as report:
            missing = [name for name in names if self.kept.known(keys[name], corpus.vectors) is None]
            near = {name: self.neighbours(name, corpus, settings.neighbours, report, cancel) for name in missing}
            self._prepared(report, cancel)
            which = label(missing[0]) if len(missing) == 1 else f"{len(missing)} maps"
            tell = _together(f"UMAP of {which}, passes", len(missing), report)

            def arrange(name: str) -> None:
                xy = layout.umap(*near[name], start, settings.seed, partial(tell, name), cancel)
                self.kept.write(keys[name], (xy,), corpus.vectors)

            with ThreadPoolExecutor(os.cpu_count(), "umap") as pool:
                list(pool.map(arrange, missing))
        return self._umaps(names, corpus, settings, start, progress, cancel)

    def _umap_key(self, name: str, corpus: Corpus, settings: MapSettings, first: str) -> tuple[Any, ...]:
        begun = self._key(first, corpus)[0]
        return (*self._key(name, corpus), "umap", settings.neighbours, settings.seed, begun)

    def _prepared(self, report: StageProgress, cancel: Cancel | None) -> None:
        """Wait until UMAP is compiled, saying so."""
        thread = layout.start_preparing()
        while thread is not None and thread.is_alive():
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped before the map was drawn")
            report(PREPARING, 0, 0)  # nobody knows how long compiling takes on a machine
            thread.join(0.2)

    # -- numbers

    def measure(
        self, space: Space, progress: StageProgress | None = None, cancel: Cancel | None = None
    ) -> dict[str, quality.Quality]:
        """Quality of every map by variant. Raises `Cancelled`."""
        corpus, settings = space.corpus, space.settings
        labels = [document.label for document in corpus.documents]
        named = content_hash(labels)
        found = {}
        for name in space.names:

            def compute(name: str = name) -> quality.Quality:
                vectors = self.vectors(name, corpus)
                _, rows = self.neighbours(name, corpus, settings.neighbours, progress, cancel)
                stage = _stage(f"measuring {label(name)}", progress)
                return quality.measure(vectors, rows, space.positions[name], labels, settings.seed, stage, cancel)

            found[name] = self.kept.alone((space.key, name, named, "quality"), compute, cancel)
        return found

    def clusters(self, variant: str, corpus: Corpus, count: int = 12, seed: int = 0) -> np.ndarray:
        """k-means clusters of a variant's vectors: int [n], seeded."""
        if not 2 <= count <= shading.MOST_LABELS:
            raise InputError(f"the number of clusters must be between 2 and {shading.MOST_LABELS}, not {count}")

        def compute() -> np.ndarray:
            from sklearn.cluster import MiniBatchKMeans

            vectors = self.vectors(variant, corpus)
            model = MiniBatchKMeans(min(count, len(vectors)), random_state=seed, n_init=3, batch_size=2048)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fewer distinct documents than clusters: then there are fewer
                return model.fit_predict(vectors)

        return self.kept.alone((*self._key(variant, corpus), "clusters", count, seed), compute)

    def stars(self, space: Space, query: str, k: int = 10) -> dict[str, Star]:
        """Where a query stands on each map, with its k best documents in the original space. Raises `InputError`.

        On a PCA the query is projected as documents are. UMAP here places documents only: the query stands among its
        best documents, at their mean weighted by how near they are, as UMAP itself begins with a new point.
        """
        self.comparer.check_query(query)
        found = {}
        for name in space.names:
            vector = self.comparer.embeddings.queries(self.comparer.shelf.load(name), [query])
            index = self.comparer.index(name, space.corpus)
            assert isinstance(index, DenseIndex)
            scores, rows = index.search(vector, k)
            if space.drawn == "pca":
                xy = space.turns[name](space.planes[name].place(vector))[0]
            else:
                far = 1 - scores[0].astype(float)
                weights = np.exp(-(far - far[0]) / max(float((far - far[0]).mean()), 1e-9))
                xy = (weights[:, None] * space.positions[name][rows[0]]).sum(0) / weights.sum()
            found[name] = Star((float(xy[0]), float(xy[1])), tuple(map(int, rows[0])), tuple(map(float, scores[0])))
        return found

    # -- keeping

    def _key(self, variant: str, corpus: Corpus) -> tuple[str, str]:
        return self.comparer.shelf.load(variant).key("document"), corpus.content_hash


PREPARING = "preparing the map: loading UMAP, which is compiled once on a machine"


def _stage(name: str, progress: StageProgress | None) -> Any:
    return None if progress is None else partial(progress, name)


def _together(name: str, count: int, report: StageProgress) -> Callable[[str, int, int], None]:
    """Reports (which, done, total) of `count` equal works that run side by side as one."""
    counted: dict[str, int] = {}

    def tell(which: str, done: int, total: int) -> None:
        counted[which] = done
        report(name, sum(counted.values()), total * count)

    return tell
