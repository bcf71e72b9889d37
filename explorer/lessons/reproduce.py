"""A claim of the paper tested on the shipped checkpoints and the built-in corpus, in seconds.

One training of each design speaks of these checkpoints, not of the designs: the shipped study, with several seeds, says
more, and the page shows its verdict beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from ..designs import STUDY_DESIGNS
from ..significance import Test, holm_corrected, paired_means
from ..study.claims import CLAIMS, MARGIN, ONE_SIZE, Claim
from .bench import Bench, K
from .lesson import Finding, Verdict, interval

HEADS = ("comparison", "measured by", "difference", "95 % interval", "p (Holm)", "this says")


def claim_of(id: str) -> Claim:
    """A claim by its id. Raises KeyError."""
    return {claim.id: claim for claim in (*CLAIMS, ONE_SIZE)}[id]


def on_retrieval(bench: Bench, id: str) -> Finding:
    """Is the first of each pair better? By nDCG@10 over the judged queries of the corpus."""
    claim = claim_of(id)
    designs = list(dict.fromkeys(name for pair in claim.pairs for name in pair))
    home = bench.home(designs)
    names = [home + name for name in designs]
    scores = {name: found.values("nDCG") for name, found in bench.quality(names).items()}
    tests = _tested(claim.pairs, scores, "queries", home)
    verdicts = [_better(test) for test in tests]
    return _finding(verdicts, [(test, f"nDCG@{K}", v) for test, v in zip(tests, verdicts, strict=True)])


def on_topics(bench: Bench, id: str) -> Finding:
    """Is the first of each pair no better? By how often the nearest other document has the same topic."""
    claim = claim_of(id)
    designs = list(dict.fromkeys(name for pair in claim.pairs for name in pair))
    home = bench.home(designs)
    names = [home + name for name in designs]
    tests = _tested(claim.pairs, {name: bench.same_topic(name) for name in names}, "documents", home)
    verdicts = [_no_better(test) for test in tests]
    return _finding(verdicts, [(test, "same topic", v) for test, v in zip(tests, verdicts, strict=True)])


def everywhere(bench: Bench, id: str) -> Finding:
    """Is one design best at everything? By retrieval, topics and minimal triplets."""
    home = bench.home(STUDY_DESIGNS)
    names = [home + name for name in STUDY_DESIGNS]
    kinds: dict[str, Callable[[], Mapping[str, np.ndarray]]] = {
        f"nDCG@{K}": lambda: {name: found.values("nDCG") for name, found in bench.quality(names).items()},
        "same topic": lambda: {name: bench.same_topic(name) for name in names},
        "triplets": lambda: {name: bench.triplets(name).right.astype(float) for name in names},
    }
    beaten: dict[str, tuple[Test, str]] = {}
    beats: set[tuple[str, str, str]] = set()
    for kind, measure in kinds.items():
        values = measure()
        for test in _tested(list(combinations(STUDY_DESIGNS, 2)), values, "examples", home):
            if test.significant:
                beats.add((test.ahead, test.behind, kind))
                beaten.setdefault(test.behind, (test, kind))
    unbeaten = [name for name in names if name not in beaten]
    champions = [n for n in names if all((n, o, k) in beats for o in names if o != n for k in kinds)]
    verdict: Verdict = "supported" if not unbeaten else "contradicted" if champions else "not told apart"
    said = {
        "supported": "Every variant is beaten by another one at something.",
        "contradicted": f"{', '.join(champions)} beats every other variant at everything.",
        "not told apart": f"Nothing beats {', '.join(unbeaten)} at anything, but none of these beats all others.",
    }[verdict]
    rows = [_row(test, kind, "the second is beaten" if test.winner == test.a else "the first is beaten")
            for test, kind in beaten.values()]  # fmt: skip
    return Finding(said, HEADS, rows, verdict=verdict)


def _tested(pairs: Sequence[tuple[str, str]], values: Mapping[str, np.ndarray], what: str, home: str) -> list[Test]:
    """Paired tests of designs' variants, Holm over the pairs."""
    tests = []
    for a, b in pairs:
        a, b = home + a, home + b
        tests.append(replace(paired_means(values[a], values[b], what), a=a, b=b))
    return holm_corrected([replace(test, p_holm=None) for test in tests])


def _better(test: Test) -> Verdict:
    if not test.significant:
        return "not told apart"
    return "supported" if test.winner == test.a else "contradicted"


def _no_better(test: Test) -> Verdict:
    if test.significant:
        return "contradicted" if test.winner == test.a else "supported"
    return "supported" if test.high is not None and test.high < MARGIN else "not told apart"


def _finding(verdicts: Sequence[Verdict], rows: Sequence[tuple[Test, str, str]]) -> Finding:
    verdict: Verdict = "not told apart"
    if "contradicted" in verdicts:
        verdict = "contradicted"
    elif set(verdicts) == {"supported"}:
        verdict = "supported"
    return Finding(" ".join(test.sentence for test, _, _ in rows), HEADS, [_row(*row) for row in rows], verdict=verdict)


def _row(test: Test, measure: str, says: str) -> tuple[str, ...]:
    a, b = (name.rpartition("/")[2] for name in (test.a, test.b))
    p = test.p_holm if test.p_holm is not None else test.p
    return f"{a} minus {b}", measure, f"{test.difference:+.3f}", interval(test), "–" if p is None else f"{p:.2g}", says
