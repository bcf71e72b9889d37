"""The Learn tab: lessons that ask for a prediction, measure what happens, and set up the other tabs to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from ..errors import Cancelled, InputError
from ..lessons.bench import Bench
from ..lessons.course import LESSONS, lesson
from ..lessons.lesson import CORPUS, Finding, Lesson
from ..study.results import ClaimCard, Study
from . import html_learn
from . import texts_learn as texts
from .html import note, problem
from .parts import HIDDEN, panel
from .services import Services
from .study_view import shown_studies


@dataclass
class Learn:
    """What the page wires further."""

    chosen: gr.Radio
    look: gr.Button
    """`click` sets up a tab with the lesson."""
    shown: list[Any]
    """What `show_lesson` updates."""


def build_learn(services: Services) -> Learn:
    """Draw the tab and wire it."""
    panel(f"<h2>{texts.LEARN}</h2><p class='help'>{texts.LEARN_HELP}</p>")
    first = LESSONS[0]
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            chosen = gr.Radio(titles(()), value=first.id, label=texts.LESSON, elem_id="lesson-choice")
        with gr.Column(scale=3, min_width=320):
            story = panel(html_learn.story(first, 1, len(LESSONS)), elem_id="lesson-story")
            expected = gr.Radio(list(first.options), value=None, label=first.question, elem_id="lesson-expected")
            with gr.Row():
                reveal = gr.Button(texts.EXPECT_FIRST, interactive=False, variant="primary", elem_id="lesson-reveal")
                stop = gr.Button("Stop", scale=0, min_width=90, elem_id="lesson-stop")
            result = panel(elem_id="lesson-result")
            look = gr.Button(texts.LOOK[first.setup.tab], scale=0, min_width=240, elem_id="lesson-look")
            claim = panel(html_learn.claim(first), elem_id="lesson-claim")
            where = gr.Radio(list(texts.WHERE_CHOICES), value=CORPUS, label=texts.WHERE, elem_id="claim-where")
            test = gr.Button(texts.TEST, scale=0, min_width=240, elem_id="claim-test")
            reproduced = panel(elem_id="claim-result")
            following = gr.Button(texts.NEXT, scale=0, min_width=240, elem_id="lesson-next")
    _glossary()
    done = gr.BrowserState([], storage_key="pooling-explorer-lessons", secret="settings-only")
    shown = [story, expected, reveal, result, look, claim, reproduced, following]
    show: dict[str, Any] = {"fn": show_lesson, "inputs": chosen, "outputs": shown, **HIDDEN}

    def see(request: gr.Request, id: str, choice: str | None) -> Iterator[str]:
        yield from measured(services, str(request.session_hash), id, choice)

    def try_claim(request: gr.Request, id: str, corpus: str) -> Iterator[str]:
        yield from tested(services, str(request.session_hash), id, corpus)

    def halt(request: gr.Request) -> None:
        services.stop(str(request.session_hash))

    chosen.input(**show)
    expected.input(lambda: gr.Button(texts.REVEAL, interactive=True), None, reveal, **HIDDEN)
    seen = reveal.click(see, [chosen, expected], result, concurrency_limit=4, **HIDDEN)
    seen.success(remember, [chosen, done], [done, chosen], **HIDDEN)
    test.click(try_claim, [chosen, where], reproduced, concurrency_limit=4, **HIDDEN)
    stop.click(halt, None, None, queue=False, **HIDDEN)
    following.click(next_lesson, chosen, chosen, **HIDDEN).then(**show).then(fn=None, js=TO_TOP)
    done.change(lambda ids: gr.Radio(choices=titles(ids or ())), done, chosen, **HIDDEN)
    return Learn(chosen, look, shown)


TO_TOP = "() => document.getElementById('lesson-story').scrollIntoView({ block: 'start' })"


def _glossary() -> None:
    with gr.Accordion(texts.GLOSSARY, open=False, elem_id="glossary"):
        wanted = gr.Textbox(label=texts.GLOSSARY_FIND, max_lines=1, elem_id="glossary-find")
        words = panel(html_learn.glossary(""), elem_id="glossary-words")
        wanted.change(html_learn.glossary, wanted, words, trigger_mode="always_last", **HIDDEN)


def titles(done: list[str] | tuple[str, ...]) -> list[tuple[str, str]]:
    """Lessons as choices: those that were taken are ticked."""
    return [(f"{'✓' if one.id in done else i} · {one.title}", one.id) for i, one in enumerate(LESSONS, start=1)]


def remember(id: str, done: list[str] | None) -> list[Any]:
    """Updates of (lessons taken, list of lessons)."""
    known = [one.id for one in LESSONS if one.id in {*(done or []), id}]
    return [known, gr.Radio(choices=titles(known))]


def number_of(id: str | None) -> int:
    """The place of a lesson, from 1; the first one for an id that is none."""
    return next((i for i, one in enumerate(LESSONS, start=1) if one.id == id), 1)


def next_lesson(id: str | None) -> str:
    """The lesson after this one; after the last one the first."""
    return LESSONS[number_of(id) % len(LESSONS)].id


def show_lesson(id: str | None) -> list[Any]:
    """Updates of (story, expected, reveal, result, look, claim, test's result, next)."""
    number = number_of(id)
    one = LESSONS[number - 1]
    return [
        html_learn.story(one, number, len(LESSONS)),
        gr.Radio(choices=list(one.options), value=None, label=one.question),
        gr.Button(texts.EXPECT_FIRST, interactive=False),
        "", gr.Button(texts.LOOK[one.setup.tab]), html_learn.claim(one), "",
        gr.Button(texts.NEXT if number < len(LESSONS) else "From the beginning"),
    ]  # fmt: skip


def opened_by_link(id: str | None) -> list[Any]:
    """Updates of (tab, lesson, what `show_lesson` updates) for a page that was opened by a link to a lesson.

    The first lesson stands there from the beginning: nothing of it is drawn anew, as a choice may have been made.
    """
    if id not in [one.id for one in LESSONS]:
        return [gr.skip()] * 10
    return [gr.Tabs(selected="learn"), id, *(show_lesson(id) if id != LESSONS[0].id else [gr.skip()] * 8)]


def _watched(
    services: Services, session: str, corpus: str, work: Callable[[Bench], Finding], shown: Callable[[Finding], str]
) -> Iterator[str]:
    """Progress in words, then what was found, or one sentence on what went wrong."""

    def run(progress: Any, cancel: Any) -> Finding:
        return work(Bench(services.comparer, services.lab, services.library.open(corpus), progress, cancel))

    try:
        for message, found in services.watch(session, run):
            yield note(message, "busy") if found is None else shown(found)
    except (InputError, Cancelled) as error:
        yield problem(error)
        raise gr.Error(str(error), visible=False, print_exception=False) from error


def measured(services: Services, session: str, id: str, expected: str | None) -> Iterator[str]:
    """What a lesson reveals; the prediction comes first."""
    one = LESSONS[number_of(id) - 1]
    if expected not in one.options:
        yield note(texts.EXPECT_FIRST, "error")
        raise gr.Error(texts.EXPECT_FIRST, visible=False, print_exception=False)
    yield from _watched(services, session, CORPUS, one.measure, lambda f: html_learn.revealed(one, f, expected))


def tested(services: Services, session: str, id: str, corpus: str) -> Iterator[str]:
    """The claim of a lesson on the shipped checkpoints and one of the two corpora."""
    one = LESSONS[number_of(id) - 1]
    allowed = [name for _, name in texts.WHERE_CHOICES]
    if corpus not in allowed:
        raise gr.Error(f"choose one of: {', '.join(allowed)}", print_exception=False)
    work = partial(_reproduce, one)
    yield from _watched(
        services, session, corpus, work, lambda f: html_learn.reproduced(f, card_of(services, one.claim))
    )


def _reproduce(one: Lesson, bench: Bench) -> Finding:
    return one.reproduce(bench, one.claim)


def card_of(services: Services, claim: str) -> ClaimCard | None:
    """What the first shipped study says of a claim; None where none is shipped."""
    study = next((s for s in shown_studies(services) if s.shipped), None)
    if study is None:
        return None
    return next((card for card in Study.load(study.folder).claims if card.id == claim), None)


def look_at(services: Services, id: str | None) -> tuple[Lesson, str]:
    """The lesson whose set-up is wanted, and text B of the Layers tab: the best document of its query."""
    one = lesson(id or LESSONS[0].id)
    corpus = services.library.open(CORPUS)
    query = next(q for q, text in corpus.queries.items() if text == one.setup.query)
    best = max(corpus.qrels[query].items(), key=lambda judged: judged[1])[0]
    return one, corpus.passages[corpus.position[best]]
