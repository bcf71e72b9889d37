"""Rankings side by side, on fake encoders; and the published retrieval score through our own index, on the real one."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from explorer.comparison import MAX_K, NO_WORD, QUALITY_DEPTH, Comparer, Comparison, ManyQueries
from explorer.corpora import Corpus, Document
from explorer.designs import design
from explorer.encoder import PooledEncoder
from explorer.errors import Cancelled, InputError
from explorer.measures import overlap_at, rank_biased_overlap
from explorer.retrieval import Hit

WORDS = ["red", "green", "blue", "fox", "dog", "cat", "runs", "sleeps", "eats", "fast"]
TEXTS = [f"{a} {b} {c}" for a in WORDS[:3] for b in WORDS[3:6] for c in WORDS[6:]]


class WordEncoder:
    """Counts words, each weighted by the encoder's own taste: different encoders rank differently."""

    dimension, fingerprint, notes = len(WORDS), "words", ()

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.asked = name, 0
        self.taste = np.random.default_rng(seed).uniform(0.2, 2, len(WORDS))

    def key(self, kind):
        return f"{self.name}-{kind}"

    def encode(self, texts, kind="document", progress=None, cancel=None):
        self.asked += 1
        for i in range(len(texts)):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped")
            if progress is not None:
                progress(i + 1, len(texts))
        counts = np.array([[text.split().count(word) for word in WORDS] for text in texts], float) * self.taste + 1e-3
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


class FakeShelf:
    """Two encoders and BM25; a short name means the same variant as the long one."""

    def __init__(self) -> None:
        self.encoders = {"words/a": WordEncoder("words/a", 1), "words/b": WordEncoder("words/b", 2)}

    def find(self, name):
        full = name if name == "bm25" or name in self.encoders else f"words/{name}"
        if full != "bm25" and full not in self.encoders:
            raise InputError(f"no variant '{name}'")
        return SimpleNamespace(name=full, source="lexical" if name == "bm25" else "checkpoint")

    def load(self, name):
        return self.encoders[self.find(name).name]

    def notes(self, names=None):
        return {}


@pytest.fixture
def corpus() -> Corpus:
    documents = tuple(Document(f"d{i}", text) for i, text in enumerate(TEXTS))
    queries = {"q1": "red fox runs", "q2": "blue cat", "q3": "green", "q4": "nothing is judged"}
    qrels = {"q1": {"d0": 2, "d1": 1}, "q2": {"d35": 1, "d0": 0}, "q3": {"d12": 0}}
    return Corpus("animals", documents, queries, qrels)


@pytest.fixture
def comparer(home) -> Comparer:
    return Comparer(FakeShelf())


def test_rankings_are_those_of_brute_force(comparer, corpus):
    view = comparer.compare(corpus, "red fox runs", ["a", "words/b", "bm25"], k=5)
    assert list(view.results) == ["words/a", "words/b", "bm25"]
    for name, encoder in comparer.shelf.encoders.items():
        scores = encoder.encode(corpus.passages) @ encoder.encode([view.query])[0]
        best = np.argsort(-scores.round(6), kind="stable")[:5]
        assert [hit.id for hit in view.results[name]] == [corpus.ids[i] for i in best]
        np.testing.assert_allclose([hit.score for hit in view.results[name]], scores[best], atol=1e-6)
        assert [hit.rank for hit in view.results[name]] == [1, 2, 3, 4, 5]
    assert view.results["bm25"][0].id == "d0"
    assert view.rankings["words/a"] != view.rankings["words/b"]


def test_agreement_is_that_of_the_rankings(comparer, corpus):
    view = comparer.compare(corpus, "red fox", ["a", "b"], k=6)
    a, b = view.rankings.values()
    (pair,) = view.agreement.pairs()
    assert (pair["a"], pair["b"]) == ("words/a", "words/b")
    assert pair["overlap"] == pytest.approx(overlap_at(a, b, 6))
    assert pair["rbo"] == pytest.approx(rank_biased_overlap(a, b))
    assert pair["rbo"] < 1


def hand(**rankings: str) -> Comparison:
    """A comparison of rankings given as strings of document ids."""
    documents = tuple(Document(c, f"text {c}") for c in "abcdefg")
    results = {n: [Hit(c, i, 1 / i) for i, c in enumerate(ids, start=1)] for n, ids in rankings.items()}
    corpus = Corpus("hand", documents, {"q": "query"}, {"q": {"c": 1, "f": 2, "a": 0}})
    return Comparison(corpus, "query", 4, results)


def test_shifts_by_hand():
    view = hand(x="abcd", y="cabe")
    assert view.shifts("x") == {
        "x": {"a": 0, "b": 0, "c": 0, "d": 0},
        "y": {"c": 2, "a": -1, "b": -1, "e": None},
    }


def test_what_all_rank_alike_by_hand():
    assert hand(x="abcd", y="acbd", z="abed").shared_by_all() == {"a", "d"}
    assert hand(x="ab", y="abcd").shared_by_all() == {"a", "b"}
    assert hand(x="abcd").shared_by_all() == set()
    assert hand(x="", y="abcd").shared_by_all() == set()


def test_quality_of_one_query_by_hand():
    """c (grade 1) first, f (grade 2) not among the four: DCG 1, ideal 2 + 1 / log2(3)."""
    scores = hand(x="cabd").quality("q")["x"]
    assert scores.mean("MRR") == 1
    assert scores.mean("Recall") == 0.5
    assert scores.mean("nDCG") == pytest.approx(1 / (2 + 1 / np.log2(3)))
    assert hand(x="cabd").quality("unjudged") == {}


def test_quality_of_many_queries(comparer, corpus):
    many = comparer.compare_many(corpus, corpus.queries, ["a", "bm25"], k=10)
    assert list(many.results) == ["words/a", "bm25"]
    assert all(len(many.results["words/a"][q]) == len(TEXTS) < QUALITY_DEPTH for q in corpus.queries)
    # q3 has only a judgment of "not relevant", q4 none: neither can be measured.
    assert set(many.quality["bm25"].per_query["nDCG"]) == {"q1", "q2"}
    for name, scores in many.quality.items():
        for q in ("q1", "q2"):
            ranks = {hit.id: hit.rank for hit in many.results[name][q]}
            first = min(ranks[d] for d, grade in corpus.qrels[q].items() if grade > 0)
            assert scores.per_query["MRR"][q] == pytest.approx(1 / first if first <= 10 else 0)
    difference = many.differences("bm25", "nDCG")
    assert set(difference) == {"words/a"}
    assert difference["words/a"].wins + difference["words/a"].ties + difference["words/a"].losses == 2


def test_without_judgments_there_is_no_quality(comparer, corpus):
    many = comparer.compare_many(corpus, {"q4": corpus.queries["q4"]}, ["a", "b"])
    assert many.quality == {}
    assert many.differences("words/a", "nDCG") == {}
    one = comparer.compare_many(corpus, {"q1": corpus.queries["q1"]}, ["a", "b"])
    assert one.differences("words/a", "nDCG") == {}  # no interval from one query


def test_disagreements_are_sorted():
    def run(**rankings):
        return {q: [Hit(c, i, 1 / i) for i, c in enumerate(ids, start=1)] for q, ids in rankings.items()}

    corpus = hand(x="a").corpus
    same, half, none = "abc", "abd", "efg"
    results = {"x": run(q1=same, q2=same, q3=same), "y": run(q1=same, q2=none, q3=half)}
    many = ManyQueries(corpus, {"q1": "1", "q2": "2", "q3": "3"}, 3, results)
    assert list(many.disagreements) == ["q2", "q3", "q1"]
    assert many.disagreements["q2"] == 1
    assert many.disagreements["q1"] == pytest.approx(0)


def test_the_json_document(comparer, corpus):
    document = json.loads(json.dumps(comparer.compare(corpus, "red fox", ["a", "bm25"], k=2).to_json()))
    assert set(document) == {"query", "corpus", "results", "agreement", "notes"}
    assert (document["query"], document["corpus"]) == ("red fox", "animals")
    assert set(document["results"]) == {"words/a", "bm25"}
    for ranking in document["results"].values():
        assert [hit["rank"] for hit in ranking] == [1, 2]
        for hit in ranking:
            assert set(hit) == {"rank", "id", "score", "text"}
            assert hit["text"] == corpus.document(hit["id"]).passage
    assert document["agreement"]["k"] == 2
    assert set(document["agreement"]["pairs"][0]) == {"a", "b", "overlap", "rbo"}


def test_documents_and_queries_are_encoded_once(comparer, corpus):
    encoder = comparer.shelf.encoders["words/a"]
    for query in ("red", "blue", "red"):
        comparer.compare(corpus, query, ["a"])
    assert encoder.asked == 3  # the documents, "red", "blue"


def test_progress_names_the_variant(comparer, corpus):
    seen = []
    comparer.compare(corpus, "red", ["a", "bm25", "b"], progress=lambda *told: seen.append(told))
    assert [told for told in seen if told[1] == told[2]] == [("words/a", 36, 36), ("words/b", 36, 36)]


def test_stopping(comparer, corpus):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        comparer.compare(corpus, "red", ["a"], cancel=stop)
    assert comparer.compare(corpus, "red", ["a"]).results["words/a"]


@pytest.mark.parametrize("query", ["", "  ", "\n\t"])
def test_an_empty_query_is_refused(comparer, corpus, query):
    with pytest.raises(InputError, match="type a query first"):
        comparer.compare(corpus, query, ["a"])
    with pytest.raises(InputError, match="there are no queries to run"):
        comparer.compare_many(corpus, {"q": query}, ["a"])


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1])
def test_an_unfit_k_is_refused(comparer, corpus, k):
    with pytest.raises(InputError, match=f"top-k must be between 1 and {MAX_K}, not {k}"):
        comparer.compare(corpus, "red", ["a"], k=k)


def test_unknown_and_no_variants_are_refused(comparer, corpus):
    with pytest.raises(InputError, match="no variant 'c'"):
        comparer.compare(corpus, "red", ["a", "c"])
    with pytest.raises(InputError, match="choose at least one variant"):
        comparer.compare(corpus, "red", [])
    assert list(comparer.compare(corpus, "red", ["a", "words/a"]).results) == ["words/a"]


def test_a_corpus_smaller_than_k(comparer):
    small = Corpus("small", (Document("only", "red"),))
    view = comparer.compare(small, "red", ["a", "bm25"], k=10)
    assert view.rankings == {"words/a": ["only"], "bm25": ["only"]}


def test_eight_threads_get_what_one_gets(comparer, corpus):
    wanted = [(query, variants) for query in WORDS[:6] for variants in (["a"], ["a", "b"], ["b", "bm25"])]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda w: comparer.compare(corpus, *w).rankings, wanted * 2))
    alone = [comparer.compare(corpus, *w).rankings for w in wanted]
    assert found == alone * 2


# ------------------------------------------------------------------------------------- queries that are documents, BM25

TWINS = {"d0": "red fox runs", "d1": "red fox eats", "d2": "blue cat sleeps", "d3": "blue cat eats", "d4": "green dog"}


def twins(qrels: dict[str, dict[str, int]], queries: dict[str, str] | None = None) -> Corpus:
    """Documents of which some are queries too."""
    asked = queries or {id: TWINS[id] for id in qrels}
    return Corpus("twins", tuple(Document(id, text) for id, text in TWINS.items()), asked, qrels)


def test_a_query_that_is_a_document_never_finds_itself(comparer):
    corpus = twins({"d0": {"d1": 1}, "d2": {"d3": 1}})
    many = comparer.compare_many(corpus, corpus.queries, ["a", "bm25"], k=3)
    for name in ("words/a", "bm25"):
        assert many.quality[name].mean("nDCG") == 1  # with itself in front it would be 1 / log2(3) = .63
        assert [hit.rank for hit in many.results[name]["d0"]] == list(range(1, len(many.results[name]["d0"]) + 1))
        assert all(q not in {hit.id for hit in many.results[name][q]} for q in corpus.queries)
    assert len(many.results["words/a"]["d0"]) == 4
    assert many.left_out == {"d0": {"d0"}, "d2": {"d2"}}
    view = comparer.compare(corpus, "red fox runs", ["a", "bm25"], k=4)
    assert view.left_out == {"d0"}
    assert all(ranking[0] == "d1" for ranking in view.rankings.values())
    assert len(view.rankings["words/a"]) == 4
    assert view.to_json()["left_out"] == ["d0"]
    assert view.quality("d0")["words/a"].mean("nDCG") == 1


def test_queries_that_are_merely_numbered_alike_keep_their_answers(comparer):
    corpus = twins({"d2": {"d2": 1}, "d4": {"d0": 1, "d4": 0}}, {"d2": "cat that sleeps", "d4": "red runs"})
    many = comparer.compare_many(corpus, corpus.queries, ["a"], k=3)
    assert many.left_out == {}
    assert many.quality["words/a"].mean("nDCG") == 1


def test_a_typed_query_finds_the_document_that_says_the_same_unless_asked_not_to(comparer):
    corpus = twins({}, {"q": "cat"})
    assert comparer.compare(corpus, TWINS["d3"], ["a"]).rankings["words/a"][0] == "d3"
    without = comparer.compare(corpus, TWINS["d3"].upper(), ["a", "bm25"], same_text=True)
    assert without.left_out == {"d3"}
    assert all("d3" not in ids for ids in without.rankings.values())
    many = comparer.compare_many(corpus, {"typed": TWINS["d3"]}, ["a"], same_text=True)
    assert "d3" not in {hit.id for hit in many.results["words/a"]["typed"]}


def test_queries_count_as_they_do_in_mteb(comparer):
    """A query without a judged document is not in the mean; its own document is not one."""
    corpus = twins({"d0": {"d1": 1}, "d2": {}}, {"d0": TWINS["d0"], "d2": TWINS["d2"], "d4": TWINS["d4"]})
    quality = comparer.compare_many(corpus, corpus.queries, ["a"], k=3).quality["words/a"]
    assert list(quality.per_query["nDCG"]) == ["d0"]


def test_bm25_that_matches_no_word_finds_nothing_and_says_so(comparer):
    corpus = twins({"q1": {"d0": 1}, "q2": {"d2": 1}}, {"q1": "zebra", "q2": "cat"})
    view = comparer.compare(corpus, "zebra", ["a", "bm25"])
    assert view.rankings["bm25"] == []
    assert view.why_nothing == {"bm25": NO_WORD} == {"bm25": "no word of the query occurs in these documents"}
    assert view.to_json()["notes"] == {"bm25": [NO_WORD]}
    assert view.agreement.pairs()[0]["overlap"] == view.agreement.pairs()[0]["rbo"] == 0
    assert view.quality("q1")["bm25"].mean("nDCG") == 0
    many = comparer.compare_many(corpus, corpus.queries, ["a", "bm25"])
    assert many.quality["bm25"].per_query["nDCG"] == {"q1": 0, "q2": pytest.approx(1)}
    assert many.found_nothing == {"bm25": ["q1"]}
    assert next(iter(many.disagreements)) == "q1"
    alone = twins({"d4": {"d0": 1}})
    assert comparer.compare(alone, TWINS["d4"], ["bm25"]).why_nothing["bm25"].endswith("occurs in other documents")
    assert "leaves out" in comparer.compare(corpus, "the of", ["bm25"]).why_nothing["bm25"]


# ---------------------------------------------------------------------------------------------------- the real thing


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.shared
def test_the_published_retrieval_score_comes_out_of_our_own_index(shared, minilm, home):
    """XQuADRetrieval (en) with the published model: nDCG@10 as in mteb's public results."""
    folder = shared / "mteb" / "XQuADRetrieval"
    rows = {kind: read_jsonl(folder / f"en-{kind}" / "validation.jsonl") for kind in ("corpus", "queries", "qrels")}
    qrels: dict[str, dict[str, int]] = {}
    for row in rows["qrels"]:
        qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    corpus = Corpus(
        "xquad",
        tuple(Document(row["_id"], row["text"], row["title"]) for row in rows["corpus"]),
        {row["_id"]: row["text"] for row in rows["queries"]},
        qrels,
    )
    published = PooledEncoder.untrained(minilm, design("mean-bidirectional"))
    shelf = SimpleNamespace(
        find=lambda name: SimpleNamespace(name=name, source="published"), load=lambda _name: published
    )
    many = Comparer(shelf).compare_many(corpus, corpus.queries, ["minilm-published"], k=10)
    expected = json.loads((shared / "mteb" / "published.json").read_text())["scores"]["XQuADRetrieval"]["published"]
    assert many.quality["minilm-published"].n == len(qrels) > 1000
    assert many.quality["minilm-published"].mean("nDCG") == pytest.approx(expected, abs=0.001)
