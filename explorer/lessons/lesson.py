"""What a lesson is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..significance import Test
from .bench import Bench

CORPUS = "everyday"
"""The corpus of all lessons."""

Verdict = Literal["supported", "contradicted", "not told apart"]


@dataclass(frozen=True)
class Finding:
    """What an experiment found: a sentence with its numbers, a table, and which option of the lesson is right."""

    sentence: str
    heads: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    answer: int | None = None
    """Number of the right option, as the numbers decide; None where a finding answers no question."""
    verdict: Verdict | None = None
    """On a claim."""
    command: str = ""
    """The command line that finds the same."""


@dataclass(frozen=True)
class Setup:
    """What a lesson puts into the real tabs."""

    tab: str
    """Where its result can be looked at: "compare" or "layers"."""
    variants: tuple[str, ...]
    query: str
    """A judged query of the corpus; text A of the Layers tab. Text B is its best document."""
    reads: str = ""
    """The variant of the Layers tab."""


@dataclass(frozen=True)
class Lesson:
    """One lesson. Texts are plain; `measure` and `reproduce` compute on the shipped checkpoints."""

    id: str
    """As in the page's address: ?lesson=ID."""
    title: str
    story: tuple[str, ...]
    """Paragraphs before the question."""
    question: str
    options: tuple[str, ...]
    measure: Callable[[Bench], Finding]
    after: tuple[str, ...]
    """Paragraphs after the answer: why, and what to look at in the tab."""
    setup: Setup
    claim: str
    """Id of a claim of the paper (study/claims.py)."""
    reproduce: Callable[[Bench, str], Finding]
    """Tests that claim."""


def interval(test: Test) -> str:
    """A test's 95 % interval as a cell of a table."""
    return "–" if test.low is None or test.high is None else f"{test.low:+.3f} to {test.high:+.3f}"
