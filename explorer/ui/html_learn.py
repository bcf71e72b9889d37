"""Lessons, findings and the glossary -> HTML."""

from __future__ import annotations

from collections.abc import Iterable

from ..lessons.glossary import GLOSSARY
from ..lessons.lesson import Finding, Lesson
from ..lessons.reproduce import claim_of
from ..study.report import VERDICT_SIGNS
from ..study.results import ClaimCard
from . import texts_learn as texts
from .html import SCROLLS, chip, esc, note


def story(lesson: Lesson, number: int, count: int) -> str:
    """Title and text before the question, with the lesson's own address."""
    link = f'<a href="?lesson={esc(lesson.id)}">{texts.LINK}</a>'
    return (
        f'<p class="help">Lesson {number} of {count} · {link}</p><h3 class="lesson">{esc(lesson.title)}</h3>'
        f"{_paragraphs(lesson.story)}"
    )


def revealed(lesson: Lesson, finding: Finding, expected: str | None) -> str:
    """What was expected, what happens, the numbers, and why."""
    happens = lesson.options[finding.answer] if finding.answer is not None else ""
    said = texts.RIGHT if expected == happens else f"{texts.WRONG}: {happens}."
    return (
        f'<p class="answer">{texts.YOURS}: {esc(expected or "–")}. <b>{esc(said)}</b></p>'
        f"<p>{esc(finding.sentence)}</p>{table(finding)}{_paragraphs(lesson.after)}{_command(finding)}"
    )


def claim(lesson: Lesson) -> str:
    """The claim that ends a lesson."""
    found = claim_of(lesson.claim)
    return f"<h4>{texts.CLAIM}</h4><p><b>{esc(found.title)}.</b> The paper: {esc(found.statement)}.</p><p>{esc(found.comparison)}</p>"


def reproduced(finding: Finding, card: ClaimCard | None) -> str:
    """The verdict of a test of a claim here, and that of the shipped study beside it."""
    verdict = finding.verdict or "not told apart"
    told = ""
    if card is not None:
        told = f"<p>The shipped study on MiniLM, with several seeds: <b>{VERDICT_SIGNS[card.verdict]} {esc(card.verdict)}</b>. {esc(card.reason)}</p>"
    return (
        f'<p class="answer"><b>{VERDICT_SIGNS[verdict]} {esc(verdict)}</b> by these checkpoints and this corpus.</p>'
        f"<p>{esc(finding.sentence)}</p>{table(finding)}{told}{note(texts.ONE_TRAINING)}"
    )


def table(finding: Finding) -> str:
    """The numbers; nothing without any."""
    if not finding.rows:
        return ""
    head = "".join(f'<th scope="col">{esc(text)}</th>' for text in finding.heads)
    named = chip if finding.heads[0] == "variant" else esc
    rows = "".join(
        f'<tr><th scope="row">{named(row[0])}</th>{"".join(f"<td>{esc(cell)}</td>" for cell in row[1:])}</tr>'
        for row in finding.rows
    )
    return f'<div class="scroll" {SCROLLS}><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def glossary(wanted: str) -> str:
    """The words that have the wanted text in them, or in what explains them."""
    text = (wanted or "").strip().casefold()
    found = [(word, told) for word, told in GLOSSARY.items() if text in word.casefold() or text in told.casefold()]
    if not found:
        return note(texts.NO_WORD)
    return f'<dl class="glossary">{"".join(f"<dt>{esc(word)}</dt><dd>{esc(told)}</dd>" for word, told in found)}</dl>'


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{esc(text)}</p>" for text in texts)


def _command(finding: Finding) -> str:
    return f'<p class="help">{texts.SAME_BY}: <code>{esc(finding.command)}</code></p>' if finding.command else ""
