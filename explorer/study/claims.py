"""The paper's claims, each with the comparison that tests it in a study, and the verdict that the numbers give.

Claims are taken from the abstract of "Pooling And Attention: What Are Effective Designs For LLM-Based Embedding
Models?" (Tang & Yang, arXiv 2409.02727), which trained five designs on Mistral-7B-v0.1 and Qwen2-0.5B and tested
them on MTEB with Wilcoxon's signed-rank test. No verdict stands here: `judge` makes them of a study's pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .results import VERDICTS, ClaimCard, Pair, Part, Verdict

ABSTRACT = "Tang & Yang, arXiv 2409.02727, abstract"

MARGIN = 0.01
"""An advantage below one point (of 100) counts as none where a claim says that there is none."""

Between = Callable[[str, str, str], Pair | None]
"""(a, b, scope) -> their comparison, in whichever order it stands."""

SIMPLE = "eos-causal"
STS, RETRIEVAL, CLUSTERING, CLASSIFICATION = "STS", "Retrieval", "Clustering", "Classification"


@dataclass(frozen=True)
class Claim:
    """The first of each pair is said to be better ("better"), or not to be better ("no better"), on all the types."""

    id: str
    title: str
    statement: str
    comparison: str
    pairs: tuple[tuple[str, str], ...]
    types: tuple[str, ...]
    says: str = "better"


CLAIMS = (
    Claim(
        "trainable-bidirectional",
        "Bidirectional attention with a trainable pooler helps similarity and retrieval",
        "“bidirectional attention and an additional trainable pooling layer outperform in text similarity and "
        "information retrieval tasks”",
        "Both bidirectional designs with a trainable pooler (Models 4 and 5) against the simplest design (Model 1).",
        (("last-layer-bidirectional", SIMPLE), ("multi-layer-bidirectional", SIMPLE)),
        (STS, RETRIEVAL),
    ),
    Claim(
        "attention-alone",
        "Bidirectional attention by itself helps similarity and retrieval",
        "“bidirectional attention and an additional trainable pooling layer outperform in text similarity and "
        "information retrieval tasks”; here its first half, with the pooling held fixed",
        "The same trainable pooling under bidirectional and under causal attention (Model 4 against 2, 5 against 3).",
        (
            ("last-layer-bidirectional", "last-layer-causal"),
            ("multi-layer-bidirectional", "multi-layer-causal"),
        ),
        (STS, RETRIEVAL),
    ),
    Claim(
        "pooling-alone",
        "A trainable pooler by itself helps similarity and retrieval",
        "“bidirectional attention and an additional trainable pooling layer outperform in text similarity and "
        "information retrieval tasks”; here its second half, with the attention held fixed",
        "Trainable poolers against the end token, all with causal attention (Models 2 and 3 against 1).",
        (("last-layer-causal", SIMPLE), ("multi-layer-causal", SIMPLE)),
        (STS, RETRIEVAL),
    ),
    Claim(
        "simple-is-enough",
        "For clustering and classification the simple design is good enough",
        "they “do not significantly surpass simpler designs like EOS-last token pooling and default causal attention "
        "in clustering and classification tasks”",
        "Models 4 and 5 against Model 1. That nothing was found does not show that there is nothing: the claim is "
        f"supported only where an advantage of {MARGIN} or more is outside both intervals.",
        (("last-layer-bidirectional", SIMPLE), ("multi-layer-bidirectional", SIMPLE)),
        (CLUSTERING, CLASSIFICATION),
        "no better",
    ),
    Claim(
        "all-layers",
        "Pooling over all layers beats pooling over the last one in similarity and retrieval",
        "Multi-Layers Trainable Pooling, which “transforms the outputs of all hidden layers, rather than just the last "
        "layer”, is “statistically superior in text similarity and retrieval tasks compared to existing pooling "
        "methods”",
        "The multi-layer against the last-layer pooler under the same attention (Model 5 against 4, 3 against 2).",
        (
            ("multi-layer-bidirectional", "last-layer-bidirectional"),
            ("multi-layer-causal", "last-layer-causal"),
        ),
        (STS, RETRIEVAL),
    ),
)

ONE_SIZE = Claim(
    "no-single-best",
    "No design is best everywhere",
    "“there is no one-size-fits-all solution”",
    "All designs of the study on all task types. Supported if every design is beaten on some type; contradicted if one "
    "design beats every other one on every type.",
    (),
    (),
)


def judge(designs: Sequence[str], types: Sequence[str], between: Between) -> list[ClaimCard]:
    """All claims against a study with these designs and task types."""
    return [*(_judged(claim, designs, types, between) for claim in CLAIMS), _one_size(designs, types, between)]


def _judged(claim: Claim, designs: Sequence[str], types: Sequence[str], between: Between) -> ClaimCard:
    judged = _no_better if claim.says == "no better" else _better
    parts = []
    for kind in claim.types:
        for a, b in claim.pairs:
            pair = between(a, b, f"type:{kind}")
            parts.append(_untested(a, b, kind, designs, types) if pair is None else judged(pair, a, b, kind))
    return _card(claim, parts)


def _card(claim: Claim, parts: Sequence[Part]) -> ClaimCard:
    """One verdict of several comparisons: a claim of several things falls with one of them and stands with all."""
    tested = [part for part in parts if part.verdict != "not tested"]
    verdicts = {part.verdict for part in tested}
    verdict: Verdict = "not told apart"
    if not tested:
        verdict = "not tested"
    elif "contradicted" in verdicts:
        verdict = "contradicted"
    elif verdicts == {"supported"}:
        verdict = "supported"
    counts = {name: sum(part.verdict == name for part in parts) for name in VERDICTS}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    reason = f"Of {len(parts)} comparisons: {said}."
    if not tested and parts:
        reason = f"{parts[0].numbers[:1].upper()}{parts[0].numbers[1:]}."
    return ClaimCard(claim.id, claim.title, claim.statement, ABSTRACT, claim.comparison, verdict, reason, tuple(parts))


def _untested(a: str, b: str, kind: str, designs: Sequence[str], types: Sequence[str]) -> Part:
    missing = [name for name in (a, b) if name not in designs]
    why = f"the study has no {' and no '.join(missing)}" if missing else f"the study has no {kind} task with both"
    if not missing and kind not in types:
        why = f"the study has no {kind} task"
    return Part(a, b, kind, "not tested", why)


def _better(pair: Pair, a: str, b: str, kind: str) -> Part:
    """Is a better than b?"""
    why = _cannot(pair)
    if why:
        return Part(a, b, kind, "not tested", why)
    verdict: Verdict = "not told apart"
    if pair.told_apart:
        verdict = "supported" if pair.winner == a else "contradicted"
    return Part(a, b, kind, verdict, numbers(pair, a))


def _no_better(pair: Pair, a: str, b: str, kind: str) -> Part:
    """Is a no better than b? Shown by b being better, or by intervals that leave no room for a gain of `MARGIN`."""
    why = _cannot(pair)
    if why:
        return Part(a, b, kind, "not tested", why)
    assert pair.seeds is not None
    verdict: Verdict = "not told apart"
    if pair.told_apart:
        verdict = "contradicted" if pair.winner == a else "supported"
    else:
        ends = [high for _, high in intervals(pair, a).values()]
        if ends and max(ends) < MARGIN:
            verdict = "supported"
    return Part(a, b, kind, verdict, numbers(pair, a))


def _cannot(pair: Pair) -> str:
    """Why a comparison decides nothing; empty if it may."""
    if pair.seeds is None:
        return "trained once each, these are two models; two designs need at least two seeds"
    return pair.test.refused


def intervals(pair: Pair, a: str) -> dict[str, tuple[float, float]]:
    """95 % intervals of a's advantage, by where they come from: the test's method, and seeds."""
    found = {}
    for name, one in ((pair.test.method, pair.test), ("seeds", pair.seeds)):
        if one is not None and one.low is not None and one.high is not None:
            found[name] = (one.low, one.high) if pair.test.a == a else (-one.high, -one.low)
    return found


def numbers(pair: Pair, a: str) -> str:
    """The numbers that decide, as a's advantage."""
    test = pair.test
    b, difference = (test.b, test.difference) if test.a == a else (test.a, -test.difference)
    said = [f"{a} minus {b}: {difference:+.4f}"]
    for name, (low, high) in intervals(pair, a).items():
        said.append(f"95 % over {name} {low:+.4f} to {high:+.4f}" if name == "seeds" else f"{low:+.4f} to {high:+.4f} "
                    f"by the {name}")  # fmt: skip
    p = test.p_holm if test.p_holm is not None else test.p
    return "; ".join([*said, f"p = {p:.2g} after Holm's correction"] if p is not None else said)


def _one_size(designs: Sequence[str], types: Sequence[str], between: Between) -> ClaimCard:
    """Is every design beaten somewhere, or does one beat all others everywhere?"""
    beaten: dict[str, list[Part]] = {name: [] for name in designs}
    beats: dict[str, set[tuple[str, str]]] = {name: set() for name in designs}
    decided: set[str] = set()
    for kind in types:
        for i, a in enumerate(designs):
            for b in designs[i + 1 :]:
                pair = between(a, b, f"type:{kind}")
                if pair is None or _cannot(pair):
                    continue
                decided.add(kind)
                if pair.winner:
                    loser = b if pair.winner == a else a
                    beats[pair.winner].add((loser, kind))
                    beaten[loser].append(Part(pair.winner, loser, kind, "supported", numbers(pair, pair.winner)))
    wanted = {name: {(o, k) for o in designs if o != name for k in decided} for name in designs}
    verdict: Verdict = "not told apart"
    parts: list[Part] = []
    if len(designs) < 2 or len(decided) < 2:
        verdict = "not tested"
        reason = "It takes two designs and two task types on which designs can be compared."
    elif all(beaten.values()):
        verdict = "supported"
        parts = [losses[0] for losses in beaten.values()]
        reason = "Every design is beaten by another one on some task type."
    elif champions := [name for name in designs if beats[name] == wanted[name]]:
        verdict = "contradicted"
        reason = f"{champions[0]} beats every other design on every task type that was tested."
    else:
        unbeaten = [name for name in designs if not beaten[name]]
        reason = f"Nothing beats {', '.join(unbeaten)} on any type, and none of these beats all others on all types."
    card = _card(ONE_SIZE, parts)
    return ClaimCard(card.id, card.title, card.statement, card.source, card.comparison, verdict, reason, tuple(parts))
