"""What the Learn tab shows, and what a link to a lesson sets up."""

from __future__ import annotations

import gradio as gr
import pytest

from explorer.errors import InputError
from explorer.lessons.course import LESSONS
from explorer.lessons.lesson import CORPUS, Finding
from explorer.lessons.reproduce import claim_of
from explorer.ui import html_learn, learn
from explorer.ui import texts_learn as texts
from explorer.ui.services import Services
from explorer.ui.starting import starting_values
from explorer.variants import Shelf

IDS = [one.id for one in LESSONS]


@pytest.fixture
def services(home) -> Services:
    return Services(Shelf(device="cpu"))


@pytest.mark.parametrize("id", IDS)
def test_a_lesson_asks_before_it_tells(id):
    story, expected, reveal, result, look, claim, _, _ = learn.show_lesson(id)
    one = LESSONS[IDS.index(id)]
    assert one.title in story
    assert f"?lesson={id}" in story
    assert [value for _, value in expected.choices] == list(one.options)
    assert (expected.value, reveal.interactive, reveal.value) == (None, False, texts.EXPECT_FIRST)
    assert result == ""
    assert look.value == texts.LOOK[one.setup.tab]
    assert claim_of(one.claim).title in claim


def test_nothing_is_revealed_without_a_prediction(services):
    shown = learn.measured(services, "me", "pooling", None)
    assert texts.EXPECT_FIRST in next(shown)
    with pytest.raises(gr.Error):
        next(shown)


def test_what_happens_is_set_against_what_was_expected():
    one = LESSONS[0]
    found = Finding("<b>7</b> of 10", ("a", "b"), [("<i>x</i>", "1")], 1, command="python -m explorer")
    right = html_learn.revealed(one, found, one.options[1])
    assert texts.RIGHT in right
    wrong = html_learn.revealed(one, found, one.options[0])
    assert f"{texts.WRONG}: {one.options[1]}" in wrong
    assert "<b>7</b>" not in wrong
    assert "&lt;i&gt;x" in wrong


def test_lessons_that_were_taken_are_ticked():
    known, radio = learn.remember("layers", ["pooling", "gone"])
    assert known == ["pooling", "layers"]
    assert [title[0] for title, _ in radio.choices] == ["✓", "2", "3", "✓", "5", "6", "7", "8"]
    assert learn.next_lesson(IDS[-1]) == IDS[0]
    assert learn.number_of("nope") == 1


@pytest.mark.parametrize("id", IDS)
def test_a_link_sets_up_the_lesson_for_everybody(services, id):
    setup = LESSONS[IDS.index(id)].setup
    remembered = {"variants": ["bm25"], "corpus": "mteb-tasks", "k": 3}
    variants, corpus, _, query = starting_values(services, remembered, {"lesson": id})
    assert (variants.value, corpus.value, query) == (list(setup.variants), CORPUS, setup.query)
    one, document = learn.look_at(services, id)
    assert one.id == id
    assert document in services.library.open(CORPUS).passages


def test_an_unknown_lesson_is_no_link(services):
    assert learn.opened_by_link("nope") == learn.opened_by_link(None) == [gr.skip()] * 10
    assert len(learn.opened_by_link(IDS[3])) == len(learn.opened_by_link(IDS[0])) == 10
    with pytest.raises(InputError, match="no lesson"):
        learn.look_at(services, "nope")
    assert starting_values(services, {}, {"lesson": "nope"})[1].value == "everyday"


def test_the_shipped_study_says_something_of_every_lessons_claim(services):
    for one in LESSONS:
        card = learn.card_of(services, one.claim)
        assert card is not None
        shown = html_learn.reproduced(Finding("s", verdict="not told apart"), card)
        assert card.verdict in shown
        assert texts.ONE_TRAINING in shown


def test_the_glossary_finds_words():
    assert "pooling" in html_learn.glossary("POOL")
    assert html_learn.glossary("zzz") == learn.note(texts.NO_WORD)
    assert html_learn.glossary("").count("<dt>") > 50
