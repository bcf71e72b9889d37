"""The corpus `everyday`: its judgments hold, its kinds of query are what they say, and it is hard but not too hard."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files

import pytest

from explorer.corpora import BUILT_IN, Corpus
from explorer.corpora.everyday import DOCUMENTS, QUERIES, build, query_kinds
from explorer.measures import QueryScores, quality
from explorer.retrieval import LexicalIndex, hits

TOPICS = {
    "animals", "computers", "garden", "health", "kitchen", "money", "music", "repairs", "space", "sport", "travel",
    "weather",
}  # fmt: skip
KINDS = {
    "keywords", "question", "no shared word", "negation", "number", "last word", "who did what", "order", "homonym",
}  # fmt: skip
HOMONYMS = ("bank", "bat", "date", "key", "mercury", "mouse", "pupil", "seal", "spring")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build()


@pytest.fixture(scope="module")
def lexical(corpus: Corpus) -> QueryScores:
    scores, rows = LexicalIndex(corpus.passages).search(list(corpus.queries.values()), 10)
    run = {q: hits(scores[i], rows[i], corpus.ids) for i, q in enumerate(corpus.queries)}
    return quality(run, corpus.qrels, 10)


def entries(file: str) -> list[dict]:
    return [json.loads(line) for line in (files("explorer.corpora") / file).read_text(encoding="utf-8").splitlines()]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


# ---- passages


def test_it_is_built_in(corpus: Corpus) -> None:
    assert BUILT_IN["everyday"]() == corpus
    assert corpus.notes == ()


def test_passages(corpus: Corpus) -> None:
    assert len(corpus) >= 150
    assert corpus.ids == sorted(set(corpus.ids))
    assert len({" ".join(sorted(words(p))) for p in corpus.passages}) == len(corpus)
    for document in corpus.documents:
        assert 25 <= len(document.text.split()) <= 80, document.id
        assert document.text == " ".join(document.text.split())
        assert document.text.endswith(".")
        assert document.title == "", "the id would give the answer away"


def test_a_dozen_topics_of_like_size(corpus: Corpus) -> None:
    counts = Counter(d.label for d in corpus.documents)
    assert set(counts) == TOPICS
    assert min(counts.values()) >= 12
    assert all(re.fullmatch(rf"{d.label}-[a-z0-9]+(-[a-z0-9]+)*", d.id) for d in corpus.documents)


def test_many_passages_have_a_near_duplicate(corpus: Corpus) -> None:
    """Of the other passages one shares at least 40 % of the words."""
    sets = [words(p) for p in corpus.passages]
    close = [max(len(a & b) / len(a | b) for b in sets if b is not a) for a in sets]
    assert sum(c >= 0.4 for c in close) >= 60


@pytest.mark.parametrize("word", HOMONYMS)
def test_words_of_two_meanings_occur_in_both(corpus: Corpus, word: str) -> None:
    topics = {d.label for d in corpus.documents if {word, f"{word}s"} & words(d.text)}
    assert len(topics) >= 2


# ---- queries


def test_queries_and_judgments(corpus: Corpus) -> None:
    lines = entries(QUERIES)
    assert len(lines) == len({line["id"] for line in lines}) == len({line["query"].lower() for line in lines})
    assert len(corpus.queries) == len(lines) >= 60
    assert corpus.qrels == {line["id"]: line["relevant"] for line in lines}
    for line in lines:
        assert 1 <= len(line["relevant"]) <= 4
        assert set(line["relevant"].values()) <= {1, 2}
        assert 2 in line["relevant"].values(), line["id"]
        assert line["id"].partition("-")[0] in TOPICS
    assert sum(1 in line["relevant"].values() for line in lines) >= 10
    assert {document["id"] for document in entries(DOCUMENTS)} == set(corpus.ids)


def test_kinds_of_query(corpus: Corpus) -> None:
    counts = Counter(query_kinds().values())
    assert query_kinds().keys() == corpus.queries.keys()
    assert set(counts) == KINDS
    assert min(counts.values()) >= 8


def test_no_shared_word_is_true(corpus: Corpus) -> None:
    """BM25, which leaves out stop words and cuts endings off, never finds the answer."""
    chosen = [q for q, kind in query_kinds().items() if kind == "no shared word"]
    scores, rows = LexicalIndex(corpus.passages).search([corpus.queries[q] for q in chosen], len(corpus))
    for i, query in enumerate(chosen):
        found = {hit.id for hit in hits(scores[i], rows[i], corpus.ids)}
        assert found.isdisjoint(corpus.qrels[query]), query


def test_words_alone_find_some_answers_but_not_all(lexical: QueryScores) -> None:
    assert 0.45 < lexical.mean("nDCG") < 0.8


def test_the_published_model_is_better_than_words_and_not_perfect(minilm, corpus: Corpus, lexical: QueryScores) -> None:
    from explorer.designs import design
    from explorer.encoder import PooledEncoder
    from explorer.retrieval import DenseIndex

    encoder = PooledEncoder.untrained(minilm, design("mean-bidirectional"))
    texts = list(corpus.queries.values())
    scores, rows = DenseIndex(encoder.encode(corpus.passages)).search(encoder.encode(texts, "query"), 10)
    run = {q: hits(scores[i], rows[i], corpus.ids) for i, q in enumerate(corpus.queries)}
    assert lexical.mean("nDCG") + 0.1 < quality(run, corpus.qrels, 10).mean("nDCG") < 0.93
