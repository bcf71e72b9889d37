"""Queries that are documents: what equal ids mean is decided by texts and judgments, worked by hand."""

from __future__ import annotations

import pytest

from explorer.corpora import Corpus, Document

RAIN = Document("a", "How does rain form?")
WIND = Document("b", "What makes the wind blow?")
SNOW = Document("c", "Why is snow white?", title="Snow")


def corpus(queries: dict[str, str], qrels: dict[str, dict[str, int]] | None = None) -> Corpus:
    return Corpus("weather", (RAIN, WIND, SNOW), queries, qrels or {})


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ({"a": "How does rain form?"}, "a"),
        ({"a": "  how does\nRAIN form? "}, "a"),  # case and white space do not matter
        ({"c": "Snow Why is snow white?"}, "c"),  # with its title …
        ({"c": "Why is snow white?"}, "c"),  # … or without
        ({"c": "snow"}, "c"),  # the title alone
        ({"b": "What makes the wind"}, "b"),  # cut
        ({"q": "How does rain form?"}, ""),  # another id: only on request
        ({"a": "Is thunder dangerous?"}, ""),  # numbered alike
        ({"a": "How does rain form?", "b": "Is thunder dangerous?"}, "ab"),  # half: ids mean the same throughout
        ({"a": "How does rain form?", "b": "Is thunder far?", "c": "Is it hail?"}, "a"),  # fewer: each by itself
        ({"a": "rain", "b": "Is thunder far?", "c": "Is it hail?"}, ""),  # … and then a word in common is not enough
        ({}, ""),
    ],
)
def test_which_queries_are_documents(queries, expected):
    assert corpus(queries).itself == set(expected)


def test_numbered_alike_loses_no_right_answer():
    documents = tuple(Document(str(i), f"answer {i}") for i in range(10))
    numbered = Corpus(
        "numbers", documents, {str(i): f"question {i}" for i in range(10)}, {str(i): {str(i): 1} for i in range(10)}
    )
    assert numbered.itself == set()
    assert numbered.judged("3") == {"3": 1}


@pytest.mark.parametrize(
    ("judged", "counts"),
    [
        ({"b": 1}, {"b": 1}),
        ({"a": 0, "b": 1}, {"b": 1}),
        ({"a": 1, "b": 1}, {"b": 1}),  # a cluster that holds the query: nothing to find
        ({"a": 1}, {"a": 1}),  # what else should be found?
        ({"a": 1, "b": 0}, {"a": 1, "b": 0}),
    ],
)
def test_the_judge_may_say_otherwise(judged, counts):
    found = corpus({"a": "How does rain form?"}, {"a": judged})
    assert found.judged("a") == counts
    assert ("a" in found.itself) == ("a" not in counts or "a" not in judged)


def test_an_answer_that_is_titled_by_its_question_stays():
    faq = Corpus("faq", (Document("1", "From vapour.", "How does rain form?"), Document("2", "It condenses.")),
                 {"1": "How does rain form?"}, {"1": {"1": 2, "2": 1}})  # fmt: skip
    assert faq.itself == set()
    assert faq.judged("1") == {"1": 2, "2": 1}


def test_documents_by_what_they_say():
    found = Corpus("twins", (RAIN, Document("d", "how does rain  form?"), SNOW)).by_text
    assert found["how does rain form?"] == ("a", "d")
    assert found["snow why is snow white?"] == found["why is snow white?"] == ("c",)


def test_judgments_of_ones_own_are_seen():
    before = corpus({"a": "How does rain form?"})
    assert before.itself == {"a"}
    assert before.with_judgments({}, {"a": {"a": 1}}).itself == set()


@pytest.mark.shared
def test_a_real_corpus_that_is_numbered_alike(shared):
    """Cranfield's 225 queries have the numbers of 225 of its documents, which say something else."""
    from explorer.corpora.readers import read_corpus

    found = read_corpus(shared / "custom" / "cranfield")
    assert len(found.queries.keys() & found.position.keys()) == 225
    assert found.itself == set()
    assert all(found.judged(query) == dict(judged) for query, judged in found.qrels.items())
