"""What each lesson reveals, measured on the shipped checkpoints. The numbers decide which option was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..significance import Test, paired_means
from .bench import Bench, K
from .lesson import CORPUS, Finding, interval

MEAN, END = "minilm-published", "minilm-untrained/eos-bidirectional"
MULTI_LAYER = "multi-layer-bidirectional"
LAYERED, BOTH_WAYS = "minilm/multi-layer-bidirectional", "minilm/mean-bidirectional"
LM_START, LM_START_BOTH = "smollm2-untrained/mean-causal", "smollm2-untrained/mean-bidirectional"
LM_END, LM_LAYERED = "smollm2-untrained/eos-causal", "smollm2/multi-layer-bidirectional"
"""The language model: as pretrained, and, in its multi-layer variant, trained for embedding."""
METRIC = "nDCG"
ALIKE, UNLIKE = 0.8, 0.4
"""Mean overlap of the ten best from which two rankings count as nearly the same, and below which as different."""
SAME = 0.9999
"""A cosine from which two states count as the same."""
EVEN = 1.5
"""Weights count as even while the largest is at most so many times 1/L."""

HALF, SEVERAL = 0.5, 3
"""The share above which a token is said to be the mean, and how many times its even share count as several."""


def pooling(bench: Bench) -> Finding:
    """One set of weights, read by mean and by end token: do they find the same documents?"""
    many = bench.many((MEAN, END))
    first, second = ({q: {h.id for h in hits[:K]} for q, hits in many.results[name].items()} for name in (MEAN, END))
    shared = [len(first[q] & second[q]) / K for q in many.queries]
    overlap = float(np.mean(shared))
    answer = 0 if overlap >= ALIKE else 2 if overlap < UNLIKE else 1
    rows = [(name, how, f"{many.quality[name].mean(METRIC):.3f}") for name, how in ((MEAN, "mean"), (END, "end token"))]
    return Finding(
        f"On average {K * overlap:.1f} of the {K} best documents are the same, over {len(shared)} queries.",
        ("variant", "pooling", f"nDCG@{K}"), rows, answer, command=_search((MEAN, END), "all its queries in Compare"),
    )  # fmt: skip


def last_token(bench: Bench) -> Finding:
    """Two sentences that differ in their last word: which tokens' states differ, under causal attention?"""
    from ..evaluation.triplets import read_triplets

    encoder = bench.lab.encoder(LM_END)
    pairs = [t for t in read_triplets() if t.kind == "decisive word at the end"]
    first: dict[str, list[float]] = {"causal": [], "bidirectional": []}
    last: dict[str, list[float]] = {"causal": [], "bidirectional": []}
    for triplet in pairs:
        for attention in first:
            bench.stop_here()
            a, b = (_token_states(encoder, text, attention) for text in (triplet.anchor, triplet.negative))
            first[attention].append(_cosine(a[0], b[0]))
            last[attention].append(_cosine(a[-1], b[-1]))
    same_first, same_last = (min(of["causal"]) >= SAME for of in (first, last))
    answer = {(True, False): 1, (False, True): 0, (False, False): 2, (True, True): 3}[same_first, same_last]
    rows = [(name, f"{np.mean(first[name]):.4f}", f"{np.mean(last[name]):.4f}") for name in first]
    return Finding(
        f"Over {len(pairs)} pairs of sentences the first token’s state has a cosine of "
        f"{np.mean(first['causal']):.4f} to its twin under causal attention, the end token’s "
        f"{np.mean(last['causal']):.4f}.",
        ("attention", "first token", "end token"), rows, answer,
    )  # fmt: skip


def attention(bench: Bench) -> Finding:
    """The same pooling under both kinds of attention, before training and trained alike: which retrieves better?"""
    home = bench.home(("mean-causal", "mean-bidirectional"))
    names = (LM_START, LM_START_BOTH, f"{home}mean-causal", f"{home}mean-bidirectional")
    scores = bench.quality(names)
    before, test = (
        _test(scores[both].values(METRIC), scores[causal].values(METRIC), both, causal)
        for causal, both in (names[:2], names[2:])
    )
    answer = 2 if test.winner is None else 0 if test.winner == test.a else 1
    rows = []
    for name in names:
        right = bench.triplets(name).accuracy
        rows.append((name, f"{scores[name].mean(METRIC):.3f}", f"{bench.same_topic(name).mean():.3f}", f"{right:.3f}"))
    heads = ("variant", f"nDCG@{K}", "nearest has the same topic", "minimal triplets right")
    said = f"Before training for embedding: {before.sentence} After it: {test.sentence}"
    return Finding(said, heads, rows, answer, command=_search(names))


def each_layer(bench: Bench) -> Finding:
    """Every layer of the language model read alone, by the mean of its tokens: which finds the most?"""
    (before, guessed), (after, guessed_after) = (
        (
            bench.lab.probe(name, bench.corpus, progress=bench.progress, cancel=bench.cancel),
            bench.lab.next_token(name, bench.corpus, bench.progress, bench.cancel).scores,
        )
        for name in (LM_START, LM_LAYERED)
    )
    layers = len(before.ndcg)
    answer = 2 if before.best == layers else 0 if before.best <= layers // 3 else 1
    rows = [
        (str(i), f"{score:.3f}", f"{guess:.1%}", f"{trained:.3f}", f"{guess_after:.1%}")
        for i, (score, guess, trained, guess_after) in enumerate(
            zip(before.ndcg, guessed, after.ndcg, guessed_after, strict=True), start=1
        )
    ]
    return Finding(
        f"As pretrained, layer {before.best} of {layers} alone is best, with an nDCG@{K} of {max(before.ndcg):.3f}; "
        f"the last layer has {before.ndcg[-1]:.3f} and guesses {guessed[-1]:.1%} of the next tokens. After training, "
        f"layer {after.best} is best with {max(after.ndcg):.3f}, and the last layer guesses {guessed_after[-1]:.1%}.",
        ("layer", f"nDCG@{K}", "next token", f"trained: nDCG@{K}", "next token"),
        rows, answer, command=_layers("--probe --next-token", variant=LM_START),
    )  # fmt: skip


def sinks(bench: Bench) -> Finding:
    """What one token of the language model holds of each layer's mean, and what that mean retrieves without it."""
    table = bench.lab.sink_table(LM_START, bench.corpus, K, bench.progress, bench.cancel)
    worst = max(table.layers, key=lambda row: row.most)
    answer = 2 if worst.most > HALF else 1 if worst.most > SEVERAL * table.even else 0
    rows = [
        (str(row.layer), f"{row.first:,.0f}", f"{row.others:,.0f}", f"{row.most:.1%}", f"{score:.3f}", f"{without:.3f}")
        for row, score, without in zip(table.layers, table.ndcg, table.ndcg_without, strict=True)
    ]
    at = worst.layer - 1
    return Finding(
        f"{table.sentence} In layer {worst.layer}, leaving out the first token and special ones changes nDCG@{K} of "
        f"the mean from {table.ndcg[at]:.3f} to {table.ndcg_without[at]:.3f}.",
        ("layer", "norm of the first token", "of the others", "one token holds", f"nDCG@{K}", "without the first"),
        rows, answer, command=f"python -m explorer layers --variant {LM_START} --corpus {CORPUS} --sinks",
    )  # fmt: skip


def mixing(bench: Bench) -> Finding:
    """How the multi-layer pooler spreads its weight over the layers."""
    layered = bench.home((MULTI_LAYER,)) + MULTI_LAYER
    sample = bench.lab.documents(layered, bench.corpus, progress=bench.progress, cancel=bench.cancel)
    mean = sample.mean
    top, layers = int(mean.argmax()) + 1, len(mean)
    answer = 0 if mean.max() <= EVEN / layers else 1 if top == layers else 2
    spread = sample.values[:, top - 1]
    rows = [(f"layer {i}", f"{100 * weight:.1f} %") for i, weight in enumerate(mean, start=1)]
    return Finding(
        f"Layer {top} gets {100 * mean.max():.1f} % of the weight (even shares would be {100 / layers:.1f} %); among "
        f"the {sample.n} documents between {100 * spread.min():.1f} and {100 * spread.max():.1f} %.",
        ("layer", "mean weight"), rows, answer, command=_layers(variant=layered),
    )  # fmt: skip


def ablation(bench: Bench) -> Finding:
    """The layer with the second largest weight switched off: what does it cost?"""
    layered = bench.home((MULTI_LAYER,)) + MULTI_LAYER
    report = bench.lab.ablate(layered, bench.corpus, K, bench.progress, bench.cancel)
    order = sorted(report.layers, key=lambda effect: -effect.weight)
    intact = report.intact.values(METRIC)
    tests = {e.layer: _test(e.removed.values(METRIC), intact, f"without layer {e.layer}", "all layers") for e in order}
    second = tests[order[1].layer]
    answer = 2 if second.winner is None else 0 if second.winner == second.b else 1
    rows = [
        (f"layer {e.layer}", f"{100 * e.weight:.1f} %", f"{tests[e.layer].difference:+.3f}", interval(tests[e.layer]))
        for e in order
    ]
    said = [_switched(order[i].layer, order[i].weight, tests[order[i].layer]) for i in (1, 0)]
    return Finding(
        " ".join(said), ("switched off", "its weight", f"nDCG@{K} changes by", "95 % interval"), rows, answer,
        command=_layers("--ablate", variant=layered),
    )  # fmt: skip


def _switched(layer: int, weight: float, test: Test) -> str:
    clear = "a clear change" if test.significant else "no clear change"
    return (
        f"Layer {layer} has {100 * weight:.1f} % of the weight; without it nDCG@{K} changes by {test.difference:+.3f} "
        f"({interval(test)}, p = {test.p:.2g}): {clear}."
    )


def significance(bench: Bench) -> Finding:
    """Two variants that differ a little: would other questions show the same order?"""
    scores = bench.quality((LAYERED, BOTH_WAYS))
    test = _test(scores[LAYERED].values(METRIC), scores[BOTH_WAYS].values(METRIC), LAYERED, BOTH_WAYS)
    rows = [(name, f"{scores[name].mean(METRIC):.4f}") for name in (LAYERED, BOTH_WAYS)]
    rows.append(("queries better / equal / worse", f"{test.wins} / {test.ties} / {test.losses}"))
    return Finding(
        test.sentence,
        ("variant", f"nDCG@{K}"),
        rows,
        0 if test.significant else 1,
        command=_search((LAYERED, BOTH_WAYS)),
    )


# ---- shared --------------------------------------------------------------------------------------------------------


def _test(x: np.ndarray, y: np.ndarray, a: str, b: str) -> Test:
    return replace(paired_means(x, y, "queries"), a=a, b=b, p_holm=None)


def _token_states(encoder, text: str, attention: str) -> np.ndarray:
    """States of the last layer [T, d] of one text."""
    import torch

    ids, mask = encoder.backbone.pad(encoder.backbone.tokenize([text]))
    with torch.inference_mode():
        states, _ = encoder.backbone.states(
            ids, mask, attention=attention, read="tokens", adapter=encoder.adapter, exact=True
        )
    return states[0].float().cpu().numpy()


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _search(variants: Sequence[str], note: str = "") -> str:
    tail = f"   # {note}" if note else ""
    return f'python -m explorer search --corpus {CORPUS} --variants {",".join(variants)} --query "…"{tail}'


def _layers(*more: str, variant: str) -> str:
    return " ".join(["python -m explorer layers --variant", variant, "--corpus", CORPUS, *more])
