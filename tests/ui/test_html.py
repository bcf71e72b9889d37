"""Results -> HTML, without a browser: what is escaped, what is said, what is hidden."""

from __future__ import annotations

import pytest

from explorer.comparison import Comparison, ManyQueries
from explorer.corpora import Corpus, Document
from explorer.retrieval import Hit
from explorer.ui import html
from explorer.ui.html import Pending, ViewOptions

EVIL = "<script>alert(1)</script>{{value}}${1}`"
CORPUS = Corpus(
    "tiny", (Document("a", "first"), Document(f"b{EVIL}", EVIL, title=EVIL, label=EVIL)), {"q": "what"}, {"q": {"a": 1}}
)
VIEW = Comparison(
    CORPUS,
    "what",
    2,
    {"v": [Hit("a", 1, 0.9), Hit(f"b{EVIL}", 2, 0.4)], "w": [Hit("a", 1, 0.8), Hit(f"b{EVIL}", 2, 0.1)]},
)


def clean(markup: str) -> bool:
    return not any(bad in markup for bad in ("<script", "{{", "${", "`"))


def test_what_comes_from_outside_is_text():
    many = ManyQueries(CORPUS, {"q": EVIL}, 2, {n: {"q": r} for n, r in VIEW.results.items()})
    for markup in (
        html.columns(VIEW, {}, ViewOptions()),
        html.agreement(VIEW.agreement, {}),
        html.queries_table(many),
        html.quality_table(many, "v"),
        html.note(EVIL),
        html.chip(EVIL),
        html.columns(VIEW, {EVIL: Pending(EVIL, failed=True)}, ViewOptions(order=["v", EVIL])),
    ):
        assert clean(markup)


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.6123, 3, ".612"), (1.0, 3, "1.000"), (-0.05, 2, "-.05"), (0.0, 2, ".00")]
)
def test_numbers(value, digits, text):
    assert html.number(value, digits) == text


def test_columns_keep_the_order_asked_for_while_one_is_computed():
    partial = Comparison(CORPUS, "what", 2, {"w": VIEW.results["w"]})
    markup = html.columns(partial, {"v": Pending("encoding", 0.25)}, ViewOptions(order=["v", "w"]))
    assert markup.index('aria-busy="true"') < markup.index('class="hit" data-doc')
    assert 'aria-valuenow="25"' in markup


def test_only_disagreements_hides_what_stands_at_the_same_rank_everywhere():
    markup = html.columns(VIEW, {}, ViewOptions(only_disagreements=True))
    assert "2 documents at the same rank in every column are hidden" in markup
    assert "Same ranking as everywhere" in markup
    assert 'class="hit"' not in markup


def test_rank_shifts_are_against_the_reference():
    view = Comparison(CORPUS, "what", 2, {"v": [Hit("a", 1, 0.9)], "w": [Hit(f"b{EVIL}", 1, 0.9), Hit("a", 2, 0.8)]})
    markup = html.columns(view, {}, ViewOptions(reference="v"))
    assert ">▼1<" in markup
    assert ">new<" in markup
    assert markup.count('class="shift') == 2  # none in the reference's own column


def test_blind_hides_every_name():
    markup = html.columns(VIEW, {}, ViewOptions(blind={"v": "B", "w": "A"}, reference="v"))
    assert "reference" not in markup.replace("the reference", "")
    assert 'aria-label="v"' not in markup
    assert "<b>A</b>" in markup


def test_judgments_are_pressed_buttons():
    markup = html.columns(VIEW, {}, ViewOptions(judged={"a": 2}))
    assert markup.count('aria-pressed="true"') == 2  # once in each column


def test_an_empty_ranking_says_why():
    assert "No document shares a word" in html.columns(Comparison(CORPUS, "x", 2, {"bm25": []}), {}, ViewOptions())


def test_why_nothing_was_found_and_what_was_left_out_is_said():
    view = Comparison(CORPUS, "zebra", 2, {"bm25": []}, left_out=frozenset({"a"}))
    markup = html.columns(view, {}, ViewOptions())
    assert "no word of the query occurs in other documents." in markup
    assert "it is the query itself: a." in markup
    many = ManyQueries(CORPUS, {"q": "zebra"}, 2, {"bm25": {"q": []}, "v": {"q": VIEW.results["v"]}})
    assert "no word of the query occurs in these documents" in html.queries_table(many)
    if many.quality:
        assert "found nothing for 1 of them" in html.quality_table(many, "v")


def test_one_judged_query_gives_numbers_without_an_interval():
    many = ManyQueries(CORPUS, {"q": "what"}, 2, {n: {"q": r} for n, r in VIEW.results.items()})
    assert "1 judged queries" not in html.quality_table(many, "v")
    assert "1.000" in html.quality_table(many, "v")
