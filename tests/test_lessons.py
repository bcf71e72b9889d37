"""Lessons: what they reveal is computed, and right; their set-ups are of things that exist."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from explorer.comparison import Comparer
from explorer.corpora import Corpus
from explorer.corpora.library import Library
from explorer.designs import STUDY_DESIGNS
from explorer.errors import Cancelled, InputError
from explorer.layers.lab import LayerLab
from explorer.lessons import experiments, reproduce
from explorer.lessons.bench import Bench
from explorer.lessons.course import LESSONS, lesson
from explorer.lessons.glossary import GLOSSARY
from explorer.lessons.lesson import CORPUS, Finding
from explorer.lessons.reproduce import claim_of
from explorer.significance import Test
from explorer.variants import Shelf

QUERIES = 20
"""As few as a test of differences takes."""


@pytest.fixture(scope="module")
def bench(smollm2: None) -> Bench:
    comparer = Comparer(Shelf(device="cpu"))
    return Bench(comparer, LayerLab(comparer), few(Library().open(CORPUS)), lambda *_: None, threading.Event())


def few(corpus: Corpus) -> Corpus:
    """The first judged queries with their documents: a language model takes a while for each."""
    qrels = {query: corpus.qrels[query] for query in list(corpus.qrels)[:QUERIES]}
    documents = tuple(document for document in corpus.documents if any(document.id in of for of in qrels.values()))
    return Corpus("few", documents, {query: corpus.queries[query] for query in qrels}, qrels)


@pytest.fixture(scope="module")
def findings(bench) -> dict[str, Finding]:
    return {one.id: one.measure(bench) for one in LESSONS}


def test_every_lesson_sets_up_what_exists(bench):
    corpus, shelf = Library().open(CORPUS), bench.comparer.shelf
    judged = {text: query for query, text in corpus.queries.items()}
    for one in LESSONS:
        assert [shelf.find(name).name for name in one.setup.variants] == list(one.setup.variants)
        assert corpus.qrels[judged[one.setup.query]]
        assert (one.setup.tab == "layers") == bool(one.setup.reads)
        assert not one.setup.reads or one.setup.reads in one.setup.variants
        assert claim_of(one.claim).statement
    assert len({one.id for one in LESSONS}) == 8
    with pytest.raises(InputError, match="no lesson 'nope'"):
        lesson("nope")


def test_every_finding_answers_its_question(findings):
    for one in LESSONS:
        found = findings[one.id]
        assert found.answer in range(len(one.options)), one.id
        assert found.sentence
        assert all(len(row) == len(found.heads) for row in found.rows)


def test_the_first_token_of_a_causal_model_cannot_know_what_follows(findings):
    (_, first, last), (_, first_both, _) = findings["last-token"].rows
    assert first == "1.0000"
    assert float(last) < 0.999
    assert float(first_both) < 0.999
    assert LESSONS[1].options[findings["last-token"].answer] == "only the end token’s"


def test_findings_say_what_the_parts_say(bench, findings):
    """The lessons' numbers are those of Compare and of Layers."""
    many = bench.comparer.compare_many(bench.corpus, bench.judged, [experiments.MEAN, experiments.END], 10)
    for (_, _, shown), name in zip(findings["pooling"].rows, (experiments.MEAN, experiments.END), strict=True):
        assert shown == f"{many.quality[name].mean('nDCG'):.3f}"
    top = {name: {q: {h.id for h in hits[:10]} for q, hits in runs.items()} for name, runs in many.results.items()}
    shared = [len(top[experiments.MEAN][q] & top[experiments.END][q]) for q in many.queries]
    assert f"{np.mean(shared):.1f} of the 10" in findings["pooling"].sentence
    for name, at in ((experiments.LM_START, 1), (experiments.LM_LAYERED, 3)):
        probe = bench.lab.probe(name, bench.corpus)
        assert [row[at] for row in findings["layers"].rows] == [f"{value:.3f}" for value in probe.ndcg]
    tokens = bench.lab.next_token(experiments.LM_START, bench.corpus)
    assert [row[2] for row in findings["layers"].rows] == [f"{value:.1%}" for value in tokens.scores]
    sunk = {tokens: bench.lab.probe(experiments.LM_START, bench.corpus, tokens=tokens) for tokens in ("all", None)}
    for at, tokens in ((4, "all"), (5, None)):
        assert [row[at] for row in findings["sinks"].rows] == [f"{value:.3f}" for value in sunk[tokens].ndcg]
    weights = bench.lab.documents(experiments.LM_LAYERED, bench.corpus).mean
    assert [row[1] for row in findings["mixing"].rows] == [f"{100 * w:.1f} %" for w in weights]


def test_topics_by_nearest_neighbour(bench):
    found = bench.same_topic("minilm-published")
    encoder = bench.comparer.shelf.load("minilm-published")
    vectors = encoder.encode(list(bench.corpus.passages))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    labels = np.array([d.label for d in bench.corpus.documents])
    assert found.tolist() == (labels[cosines.argmax(1)] == labels).astype(float).tolist()


@pytest.mark.parametrize("id", [one.id for one in LESSONS])
def test_claims_are_tested_with_numbers(bench, id):
    one = lesson(id)
    found = one.reproduce(bench, one.claim)
    assert found.verdict in ("supported", "contradicted", "not told apart")
    assert all(len(row) == len(reproduce.HEADS) for row in found.rows)
    pairs = claim_of(one.claim).pairs
    assert [row[0] for row in found.rows[: len(pairs)]] == [f"{a} minus {b}" for a, b in pairs]


def outcome(difference: float, p: float, high: float) -> Test:
    return Test("a", "b", "", "", 50, 0.5, 0.5 - difference, difference, -1.0, high, p, p)


def test_verdicts_follow_from_the_tests():
    assert reproduce._better(outcome(0.1, 0.01, 1.0)) == "supported"
    assert reproduce._better(outcome(-0.1, 0.01, 1.0)) == "contradicted"
    assert reproduce._better(outcome(0.1, 0.2, 1.0)) == "not told apart"
    assert reproduce._no_better(outcome(0.1, 0.01, 1.0)) == "contradicted"
    assert reproduce._no_better(outcome(-0.1, 0.01, 1.0)) == "supported"
    assert reproduce._no_better(outcome(0.0, 0.9, 0.005)) == "supported"
    assert reproduce._no_better(outcome(0.0, 0.9, 0.05)) == "not told apart"


@pytest.mark.parametrize(
    ("best", "verdict"),
    [
        ({"retrieval": "eos-causal", "topics": "eos-causal", "triplets": "eos-causal"}, "contradicted"),
        ({"retrieval": "eos-causal", "topics": "mean-causal", "triplets": "mean-bidirectional"}, "supported"),
        ({}, "not told apart"),
    ],
)
def test_one_best_everywhere_or_not(best, verdict):
    """Made-up results in which one design is far ahead of all others on a kind."""
    rng = np.random.default_rng(0)

    class Scores:
        def __init__(self, values):
            self.right = self._values = values

        def values(self, _):
            return self._values

    def results(kind):
        ahead = {name: 0.5 * (best.get(kind) == name) for name in STUDY_DESIGNS}
        return {f"minilm/{name}": np.clip(rng.uniform(0.2, 0.3, 80) + ahead[name], 0, 1) for name in STUDY_DESIGNS}

    made = {kind: results(kind) for kind in ("retrieval", "topics", "triplets")}

    class Fake:
        def home(self, designs):
            return "minilm/"

        def quality(self, names):
            return {name: Scores(made["retrieval"][name]) for name in names}

        def same_topic(self, name):
            return made["topics"][name]

        def triplets(self, name):
            return Scores(made["triplets"][name])

    assert reproduce.everywhere(Fake(), "no-single-best").verdict == verdict


def test_a_stopped_lesson_stops(bench):
    stopped = Bench(bench.comparer, bench.lab, bench.corpus, bench.progress, threading.Event())
    stopped.cancel.set()
    for one in (lesson("pooling"), lesson("last-token"), lesson("attention")):
        with pytest.raises(Cancelled):
            one.measure(stopped)


def test_the_glossary_is_in_order_and_says_something():
    words = list(GLOSSARY)
    assert words == sorted(words, key=str.casefold)
    assert all(text.endswith(".") and len(text) > 20 for text in GLOSSARY.values())
    for word in (
        "pooling",
        "attention",
        "hidden states",
        "latents",
        "in-batch negatives",
        "qrels",
        "nDCG@k",
        "ablation",
    ):
        assert word in GLOSSARY


def test_a_lesson_on_the_command_line(home, capsys):
    from explorer.__main__ import main

    assert main(["lesson"]) == 0
    assert capsys.readouterr().out.count("\n") == len(LESSONS)
    assert main(["lesson", "significance", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] in found["options"]
    assert main(["lesson", "significance", "--device", "cpu"]) == 0
    assert found["sentence"] in capsys.readouterr().out
    assert main(["lesson", "nope"]) == 2
    assert "no lesson 'nope'; there are: pooling" in capsys.readouterr().err
