"""What the Compare tab decides, without a browser. BM25 alone, so no model is loaded."""

from __future__ import annotations

import gradio as gr
import pytest

from explorer.corpora import Corpus, Document
from explorer.errors import Cancelled, InputError
from explorer.policy import Policy
from explorer.ui import compare, many, texts
from explorer.ui.services import Services
from explorer.ui.starting import starting_values
from explorer.variants import BM25, Shelf

MINE = Corpus("mine", (Document("1", "milk and flour"), Document("2", "chain and oil")), {"a": "milk"}, {"a": {"1": 1}})


@pytest.fixture
def services(home) -> Services:
    made = Services(Shelf())
    made.library.add(MINE)
    return made


def shown(services: Services, query="milk", variants=(BM25,), corpus="mine", k=5, kind="exact") -> list[tuple]:
    return list(compare.show_search(services, compare.Asked(query, list(variants), corpus, k, kind=kind), "me"))


def test_a_search_ends_with_columns_agreement_figure_and_code(services):
    *_, columns, last = shown(services)
    assert 'data-doc="1"' in columns[1]
    assert "Library().open('mine')" in last[4]
    assert "bm25<br>corpus mine" in last[3].layout.annotations[0].text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"query": " "}, "query first"),
        ({"variants": ()}, "at least one variant"),
        ({"variants": ("nope",)}, "No variant"),
        ({"corpus": "nope"}, "No corpus"),
        ({"k": 51}, "between 1 and 50"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_the_rest_alone(services, given, sentence):
    last = shown(services, **given)[-1]
    assert 'role="alert"' in last[0]
    assert sentence in last[0]
    assert all(update == gr.skip() for update in last[1:])


def test_a_search_that_another_one_followed_shows_nothing_more(services):
    first = compare.show_search(services, compare.Asked("milk", [BM25], "mine", 5), "me")
    assert next(first)
    assert shown(services, query="oil")
    assert list(first) == []


def test_a_variant_that_fails_leaves_the_others(services, monkeypatch):
    def broken(*_args, **_kwargs):
        raise Cancelled("stopped after 3 of 9 texts")

    monkeypatch.setattr(services.comparer.embeddings, "documents", broken)
    monkeypatch.setattr(services.shelf, "load", lambda name: type("E", (), {"key": lambda *_: name})())
    columns = shown(services, variants=(BM25, "minilm-published"))[-2][1]
    assert "stopped after 3 of 9 texts" in columns
    assert 'data-doc="1"' in columns


def test_an_approximate_index_is_refused_for_few_documents(services, monkeypatch):
    import numpy as np

    class Fake:
        dimension = 4

        def key(self, kind):
            return "fake"

        def encode(self, found, kind="document", progress=None, cancel=None):
            return np.eye(4, dtype=np.float32)[: len(found)]

    monkeypatch.setattr(services.shelf, "load", lambda name: Fake())
    assert "100,000" in shown(services, variants=("minilm-published",), kind="hnsw")[-1][1]


def test_letters_are_shuffled_anew_for_every_query():
    names = [f"v{i}" for i in range(6)]
    found = [compare.letters(names, f"query {i}") for i in range(20)]
    assert all(sorted(letters.values()) == list("ABCDEF") for letters in found)
    assert len({tuple(sorted(letters, key=letters.__getitem__)) for letters in found}) > 5
    assert compare.letters(names, "query 1") == found[1]


def test_a_judgment_from_the_page_is_checked(services):
    for bad in ({"document": 3, "grade": 1}, {"document": "1", "grade": 7}, {"document": ["1"], "grade": 1}, {}):
        with pytest.raises(InputError, match="no judgment"):
            compare.judged(services, "milk", "mine", bad)
    with pytest.raises(InputError, match="no document '9'"):
        compare.judged(services, "milk", "mine", {"document": "9", "grade": 1})
    assert services.library.open("mine").qrels == {"a": {"1": 1}}
    compare.judged(services, "milk", "mine", {"document": "2", "grade": 0})
    assert services.library.open("mine").qrels["a"] == {"1": 1, "2": 0}


def test_queries_come_from_the_corpus_or_the_user(services, tmp_path):
    assert many.queries_of(Policy(), MINE, "", None) == {"a": "milk"}
    given = many.queries_of(Policy(), MINE, "milk\nengine oil", None)
    assert given["a"] == "milk"  # a text the corpus judges keeps its id
    assert sorted(given.values()) == ["engine oil", "milk"]
    file = tmp_path / "queries.txt"
    file.write_text("one\ntwo\n")
    assert sorted(many.queries_of(Policy(), MINE, "ignored", str(file)).values()) == ["one", "two"]


def test_all_queries_of_a_corpus_without_any_say_so(services):
    services.library.add(Corpus("plain", (Document("1", "x"), Document("2", "y"))))
    found = list(many.show_many(services, many.AskedMany([BM25], "plain", 5, None, "exact"), "me"))
    assert texts.NO_QUERIES in found[-1][0]
    found = list(many.show_many(services, many.AskedMany([BM25], "plain", 5, None, "exact", "x"), "me"))
    assert texts.NO_JUDGMENTS[:40] in found[-1][1]


def values(services, remembered=None, address=None):
    variants, corpus, k, query = starting_values(services, remembered or {}, address or {})
    return variants.value, corpus.value, k, query


def test_the_address_wins_over_what_was_remembered(services):
    remembered = {"variants": ["bm25"], "corpus": "mine", "k": 7}
    assert values(services, remembered)[:3] == (["bm25"], "mine", 7)
    address = {"variants": "minilm-published,bm25", "corpus": "python-stdlib", "k": "3", "query": "x"}
    assert values(services, remembered, address) == (["minilm-published", "bm25"], "python-stdlib", 3, "x")


def test_what_is_not_valid_any_more_is_left_out(services):
    address = {"variants": "gone,bm25", "corpus": "gone", "k": "a lot", "query": "q" * 9999}
    assert values(services, {}, address) == (["bm25"], "everyday", 10, "q" * 2000)
    assert values(services, {"variants": ["gone"], "k": 900})[0] == services.default_variants()
