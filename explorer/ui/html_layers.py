"""What the Layers tab shows as HTML: weights on the text itself, steps, rankings with and without layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..corpora import Corpus
from ..layers.ablation import AblationReport, Correlation, Reranking
from ..layers.probe import METRIC
from ..layers.reading import NOT_EXPLANATION, Reading, Weights
from ..layers.sinks import RULE, TextSinks
from ..layers.trace import Step
from ..layers.words import Word
from .html import SCROLLS, chip, esc, note, number

STRONGEST = 6
"""Words named with their weights below the text."""

ROLES = {"prompt": "prompt", "special": "special token", "end": "end token"}

CAUTION = f'<p class="px-note">{esc(NOT_EXPLANATION)} <a href="#layers-test">Test it: switch layers off</a></p>'
"""Stands by every picture of weights."""


def words_on_text(reading: Reading, name: str) -> str:
    """The text, each word shaded by its weight; below it the words that are read most, with numbers."""
    words, weights = reading.spelling.words, reading.words
    top = float(weights.max()) or 1.0
    body, place = "", 0
    for word, weight in zip(words, weights.tolist(), strict=True):
        if word.role == "text" and word.start >= place:
            body += esc(reading.text[place : word.start])
            place = word.end
        body += _word(word, weight, weight / top)
    rest = reading.text[place:]
    cut = f'<span class="cut">{esc(rest[:400])}{" …" if len(rest) > 400 else ""}</span>' if rest.strip() else ""
    strongest = sorted(zip(words, weights.tolist(), strict=True), key=lambda pair: -pair[1])[:STRONGEST]
    named = " · ".join(f"{esc(word.text[:24])} {number(weight)}" for word, weight in strongest)
    said = esc(reading.tokens.sentence)
    if reading.tokens.learned:
        said = f"Read most: {named} (all alike would be {number(reading.tokens.uniform)} a token)."
    notes = "".join(note(text) for text in reading.notes)
    return (
        f"<h3>{esc(name)}</h3><div class='weighted' tabindex='0' aria-label='{esc(name)}, words shaded by weight'>"
        f"{body}{cut}</div><p class='help'>{said}</p>{notes}"
    )


def spread(weights: Weights, what: str) -> str:
    """How far the weight is spread over layers or tokens, as a sentence with its entropy, head by head."""
    most = np.log2(weights.values.shape[-1])
    heads = " ".join(number(float(e), 2) for e in weights.entropy.mean(1))
    by_head = f"; by head {heads}" if len(weights.values) > 1 else ""
    return (
        f"<p class='help'>Entropy {number(float(weights.entropy.mean()), 2)} bits, at most {number(float(most), 2)} where all "
        f"{what} are read alike{by_head}. The mean weight is spread over about {number(weights.effective, 1)} of "
        f"{weights.values.shape[-1]} {what}.</p>"
    )


def _word(word: Word, weight: float, share: float) -> str:
    role = "" if word.role == "text" else f'<small class="role">{ROLES[word.role]}</small>'
    shown = esc(word.text[:200])
    kind = "word" if word.role == "text" else "word other"
    return f'<span class="{kind}" style="--v:{share:.3f}" title="{shown}: {number(weight, 4)}">{shown}{role}</span>'


def steps_table(steps: Sequence[Step]) -> str:
    """Every step with its formula, shape and norms."""
    rows = ""
    for step in steps:
        shape = " × ".join(f"{n:,}" for n in step.shape)
        about = f"<br><small>{esc(step.note)}</small>" if step.note else ""
        rows += (
            f'<tr><th scope="row">{esc(step.name)}{about}</th><td class="formula">{esc(step.formula)}</td>'
            f"<td>{shape}</td><td>{_norms(step)}</td></tr>"
        )
    return (
        f'<div class="scroll" {SCROLLS}><table class="steps"><thead><tr><th scope="col">step</th><th scope="col">formula</th>'
        f'<th scope="col">shape</th><th scope="col">length (norm)</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _norms(step: Step) -> str:
    norms = list(step.norms)
    if not norms:
        return "–"
    if len(norms) == 1:
        return number(norms[0])
    if len(norms) <= 8:
        return " ".join(number(n, 2) for n in norms)
    per = f" over {len(norms):,} {step.per}s" if step.per else ""
    return f"{number(min(norms), 2)} to {number(max(norms), 2)}, mean {number(sum(norms) / len(norms), 2)}{per}"


def sinks_told(found: Sequence[TextSinks]) -> str:
    """What the pictures of token norms show, in numbers: text by text, and what this variant reads."""
    parts = []
    for name, one in zip("AB", found, strict=False):
        sinks, rest, _ = one.sentences
        parts.append(f"<p><b>Text {name}.</b> {esc(sinks)} {esc(rest)}</p>")
    *_, own = found[0].sentences
    return f"{''.join(parts)}<p>{esc(own)}</p><p class='help'>{esc(RULE)}</p>"


def reranking(found: Reranking, corpus: Corpus, k: int = 10) -> str:
    """The ranking with all layers beside the one without some, and how far the vectors moved."""
    off = ", ".join(map(str, found.off))
    if not found.off:
        said = "All layers are on. Untick one to see the ranking change."
    else:
        said = (
            f"Without layer {off}: cosine to the intact vector {number(found.query_cosine)} for the query, "
            f"{number(found.document_cosine)} for the documents (mean)."
        )
    moves = found.moves
    left = "".join(_line(h.rank, h.id, h.score, corpus) for h in found.intact[:k])
    right = "".join(_line(h.rank, h.id, h.score, corpus, moves[h.id]) for h in found.ablated[:k])
    title = f"without layer {off}" if found.off else "the same"
    return (
        f"<p>{esc(said)}</p><div class='columns' style='--n:2'><section class='column'><header><b>all layers</b></header>"
        f"<ol>{left}</ol></section><section class='column'><header><b>{esc(title)}</b></header><ol>{right}</ol></section>"
        f"</div><p class='help'>“{esc(found.query[:200])}” among the {len(found.intact)} documents that are best with all "
        "layers; one from below them cannot rise here.</p>"
    )


def _line(rank: int, id: str, score: float, corpus: Corpus, moved: int | None = None) -> str:
    document = corpus.document(id)
    shift = ""
    if moved is not None:
        arrow = "=" if not moved else f"▲{moved}" if moved > 0 else f"▼{-moved}"
        shift = f'<span class="shift {"up" if moved > 0 else "down" if moved else ""}">{arrow}</span>'
    return (
        f'<li class="hit slim"><div class="line"><span class="rank">{rank}</span><span class="title" title="{esc(id)}">'
        f'{esc((document.title or id)[:160])}</span>{shift}<span class="score">{number(score)}</span></div></li>'
    )


def predicts(report: AblationReport) -> str:
    """Whether weights predict what a layer does, as two sentences, and the numbers layer by layer."""
    metric = f"{METRIC}@{report.intact.k}"
    rows = "".join(
        f'<tr><th scope="row">layer {e.layer}</th><td>{number(e.weight)}</td><td>{number(e.removed.mean(METRIC))}</td>'
        f"<td>{round(-effect, 3) + 0.0:+.3f}</td><td>{number(e.removed_cosine)}</td><td>{number(e.alone.mean(METRIC))}</td>"
        f"<td>{number(e.alone_cosine)}</td></tr>"
        for e, effect in zip(report.layers, report.effects, strict=True)
    )
    return (
        f"<h3>Do weights predict the effect?</h3><p>{_told('what removing a layer costs', report.predicts_removed)} "
        f"{_told('how good a layer is alone', report.predicts_alone)}</p>"
        f'<div class="scroll" {SCROLLS}><table><thead><tr><th scope="col">{chip(report.variant)}</th><th scope="col">mean weight</th>'
        f'<th scope="col">{metric} without it</th><th scope="col">change</th><th scope="col">cosine</th>'
        f'<th scope="col">{metric} alone</th><th scope="col">cosine</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="help">{report.documents:,} documents of {esc(report.corpus)}, {report.intact.n} judged queries, '
        f"{metric} with all layers {number(report.intact.mean(METRIC))}. Cosine: of the documents’ vectors to the intact "
        "ones.</p>"
    )


def _told(what: str, found: Correlation | None) -> str:
    if found is None:
        return f"Mean weight and {what}: not defined here, because all values are equal."
    return f"Mean weight and {what}: rank correlation {found.rho:+.2f} (p {found.p:.2g}, {found.n} layers)."
