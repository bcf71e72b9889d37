"""A score of a study with both its uncertainties: over seeds (Student's t, Welch's t) and over examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..mean_tests import skewed_t
from ..measures import interval
from .results import Estimate, SeedGap


def estimate(scores: Sequence[float], examples: tuple[float, float] | None) -> Estimate:
    """Mean over seeds, its t interval over seeds, and the interval over `examples` where it is known."""
    from scipy import stats

    x = np.asarray(scores, float)
    found = Estimate(float(x.mean()), tuple(map(float, x)))
    if len(x) > 1:
        sd = float(x.std(ddof=1))
        half = float(stats.t.ppf(0.975, len(x) - 1)) * sd / len(x) ** 0.5
        found = replace(found, sd=sd, seed_low=found.mean - half, seed_high=found.mean + half)
    return found if examples is None else replace(found, low=examples[0], high=examples[1])


def mean_interval(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """The 95 % interval over examples of the mean over tasks, from the values of each task's examples [n_k]."""
    if len(parts) == 1:
        found = interval(parts[0])
        return found.low, found.high
    t = skewed_t([values[None] for values in parts])
    low, high = float(t.low[0]), float(t.high[0])
    inside = all(values.min() >= 0 and values.max() <= 1 for values in parts)
    return (max(low, 0.0), min(high, 1.0)) if inside else (low, high)


def gap(x: Sequence[float] | None, y: Sequence[float] | None, difference: float) -> SeedGap | None:
    """Welch's t interval of the difference of two means over seeds; None stands for a baseline, which has no seeds.

    Not defined, and None, unless every design has two seeds.
    """
    from scipy import stats

    sides = [np.asarray(side, float) for side in (x, y) if side is not None]
    if not sides or any(len(side) < 2 for side in sides):
        return None
    counts = [0 if side is None else len(side) for side in (x, y)]
    parts = [side.var(ddof=1) / len(side) for side in sides]
    error = float(np.sqrt(sum(parts)))
    if error < 1e-12:
        return SeedGap(difference, difference, 1.0 if abs(difference) < 1e-12 else None, *counts)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    half = float(stats.t.ppf(0.975, freedom)) * error
    p = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return SeedGap(difference - half, difference + half, p, *counts)
