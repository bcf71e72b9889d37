"""What points are coloured by: values -> a few codes with a legend. Colours belong to whoever draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ..corpora import Corpus
from ..errors import InputError

MOST_LABELS = 20
"""Labels that get a colour of their own, the most frequent ones; the rest are grouped."""
BINS = 10
"""Steps of a scale."""
NUMERIC_SHARE = 0.9
"""A field counts as numeric where at least this share of its values are numbers."""
LENGTH = "length of the text"
"""The number that every document has, in characters."""

Kind = Literal["categories", "steps"]


@dataclass(frozen=True)
class Shading:
    """Codes 0 to len(names)-1 for every point; `kind` says whether their order means something."""

    title: str
    kind: Kind
    codes: Mapping[str, np.ndarray]
    """uint8 [n] by variant; under the name "" where all variants have the same."""
    names: tuple[str, ...]
    rest: int = 0
    """How many codes at the end are no colour of their own: "other", "none", "not measured"."""
    note: str = ""

    def of(self, variant: str) -> np.ndarray:
        """The codes of a variant's map."""
        return self.codes.get(variant, self.codes.get("", np.empty(0, np.uint8)))


def by_label(corpus: Corpus) -> Shading:
    """The most frequent labels; the others as one. Without labels all points are alike, and a note says so."""
    counts = Counter(document.label for document in corpus.documents if document.label)
    if not counts:
        nothing = np.zeros(len(corpus), np.uint8)
        return Shading("label", "categories", {"": nothing}, ("no label",), 1, f"{corpus.name} has no labels.")
    shown = [label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    kept = shown[:MOST_LABELS] if len(shown) > MOST_LABELS + 1 else shown
    code = {label: i for i, label in enumerate(kept)}
    names, other, none = list(kept), len(kept), len(kept)
    if len(shown) > len(kept):
        names.append(f"other ({len(shown) - len(kept):,} labels)")
        none += 1
    if sum(counts.values()) < len(corpus):
        names.append("no label")
    codes = np.array([code.get(d.label, other) if d.label else none for d in corpus.documents], np.uint8)
    note = f"The {len(kept)} most frequent of {len(shown):,} labels have a colour." if len(shown) > len(kept) else ""
    return Shading("label", "categories", {"": codes}, tuple(names), len(names) - len(kept), note)


def by_cluster(clusters: np.ndarray, variant: str) -> Shading:
    """Clusters [n] of one variant's vectors, largest first, shown in all maps."""
    sizes = np.bincount(clusters)
    order = [int(c) for c in np.argsort(-sizes, kind="stable") if sizes[c]]
    code = np.zeros(len(sizes), np.uint8)
    code[order] = np.arange(len(order))
    names = tuple(f"cluster {i + 1}" for i in range(len(order)))
    note = f"Clusters by k-means on the vectors of {variant}, the same in every map."
    return Shading("cluster", "categories", {"": code[clusters]}, names, 0, note)


def by_number(title: str, values: np.ndarray, note: str = "") -> Shading:
    """A number per document, float [n] (NaN: none), in steps that hold about as many documents each."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Shading(title, "steps", {"": np.zeros(len(values), np.uint8)}, ("no value",), 1, note)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    return _stepped(title, {"": values}, edges, "no value", note)


def by_change(values: np.ndarray, a: str, b: str, k: int) -> Shading:
    """Neighbourhood change [n] from 0 to 1 between two variants, in ten equal steps."""
    note = f"1 − Jaccard similarity of the {k} nearest neighbours with {a} and with {b}: 0 the same, 1 all others."
    return _stepped("neighbourhood change", {"": values}, np.linspace(0, 1, BINS + 1), "", note)


def by_trust(points: Mapping[str, np.ndarray]) -> Shading:
    """Trustworthiness at each point of each variant's own map, on one scale for all maps."""
    known = np.concatenate([values[~np.isnan(values)] for values in points.values()])
    if not len(known):
        n = len(next(iter(points.values())))
        nothing = {name: np.zeros(n, np.uint8) for name in points}
        return Shading(
            "trustworthiness", "steps", nothing, ("not measured",), 1, "Trustworthiness is not defined here."
        )
    low = min(float(np.quantile(known, 0.02)), 0.99)
    edges = np.linspace(low, 1, BINS + 1)
    edges[0] = min(low, float(known.min()))
    note = "Trustworthiness at each point of each map: 1 where the neighbours on the map are neighbours in the space."
    n = len(next(iter(points.values())))
    if np.isnan(next(iter(points.values()))).any():
        note += f" Measured at {len(known) // len(points):,} of {n:,} documents."
    return _stepped("trustworthiness", points, edges, "not measured", note)


def _stepped(title: str, values: Mapping[str, np.ndarray], edges: np.ndarray, missing: str, note: str) -> Shading:
    """Codes by `edges`, ascending; what has no value gets a code of its own after them."""
    steps = max(1, len(edges) - 1)
    codes = {}
    for name, numbers in values.items():
        code = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, steps - 1)
        codes[name] = np.where(np.isnan(numbers), steps, code).astype(np.uint8)
    if len(edges) == 1:
        names = [_short(float(edges[0]))]
    else:
        names = [f"{_short(float(a))} – {_short(float(b))}" for a, b in pairwise(edges)]
    rest = int(any((code == steps).any() for code in codes.values()))
    return Shading(title, "steps", codes, (*names, *([missing] if rest else [])), rest, note)


def _short(value: float) -> str:
    """A number in a legend: three digits, or whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


# ------------------------------------------------------------------------------------------------------ numeric fields


def numeric_fields(corpus: Corpus) -> dict[str, np.ndarray]:
    """The fields that hold numbers, by name, as float [n], NaN where there is none; first the length of the text."""
    found = {LENGTH: np.array([len(p) for p in corpus.passages], float)}
    names = dict.fromkeys(name for document in corpus.documents for name in document.fields)
    for name in names:
        texts = [document.fields.get(name, "") for document in corpus.documents]
        numbers = np.array([as_number(text) for text in texts])
        given = sum(bool(text.strip()) for text in texts)
        real = int((~np.isnan(numbers)).sum())
        if real and real >= NUMERIC_SHARE * given and len(np.unique(numbers[~np.isnan(numbers)])) > 1:
            found[name] = numbers
    return found


def as_number(text: str) -> float:
    """A text as a finite number; NaN where it is none."""
    try:
        value = float(text.replace(",", "")) if len(text) < 40 else np.nan
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def check_field(name: str, fields: Mapping[str, Any] | Sequence[str]) -> None:
    """Raises `InputError` naming the numeric fields there are."""
    if name not in fields:
        raise InputError(f"there is no numeric field '{name[:60]}'; there are: {', '.join(fields)}")
