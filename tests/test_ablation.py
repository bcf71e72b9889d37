"""Layers switched off: as a rerun would have it, from stored states alone; rankings, probes, and the service."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from reading import TEXTS, Shelf, corpus, encoder
from scipy import stats

from explorer.backbone import Backbone
from explorer.comparison import Comparer
from explorer.corpora import Corpus, Document
from explorer.errors import Cancelled, InputError
from explorer.layers import states
from explorer.layers.ablation import Ablation, rank_correlation
from explorer.layers.lab import LayerLab
from explorer.layers.probe import judged_queries, pair_correlations, retrieval_quality, unit
from explorer.layers.states import LayerStates
from explorer.layers.switching import Switched
from explorer.measures import quality
from explorer.pooling import CrossAttentionPooler, PoolerConfig
from explorer.retrieval import Hit

MULTI = "multi-layer-bidirectional"
MULTIS = (MULTI, "multi-layer-causal")


@pytest.fixture(autouse=True)
def own_home(home):
    return home


def rerun(name: str, texts: list[str], keep: list[int], architecture: str = "bert") -> np.ndarray:
    """The whole way again: texts through backbone and pooler, with the layers masked there."""
    e = encoder(name, architecture)
    rows = []
    for text in texts:
        with torch.inference_mode():
            states, _ = e.backbone.states(
                *e.backbone.pad(e.backbone.tokenize([text], 64)), attention=e.design.attention, read=e.design.states
            )
            rows.append(e.pooler(states, torch.tensor([keep]))[0].numpy())
    return np.stack(rows)


@pytest.fixture
def counted(monkeypatch):
    """How many texts the backbone reads."""
    seen = []
    real = Backbone.states

    def states(self, ids, mask, **how):
        seen.append(len(ids))
        return real(self, ids, mask, **how)

    monkeypatch.setattr(Backbone, "states", states)
    return seen


# --------------------------------------------------------------------------------------------------------- switched off


@pytest.mark.parametrize("name", MULTIS)
@pytest.mark.parametrize("keep", [[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 1]])
def test_ablation_from_stored_states_is_a_full_rerun(name, keep):
    e, words = encoder(name), corpus()
    stored = LayerStates().documents(e, words)
    made = Switched(e.pooler).vectors(stored, [keep])[0]
    np.testing.assert_allclose(made, rerun(name, TEXTS, keep), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_all_layers_but_one_off_is_pooling_that_layer_alone(layer):
    """A pooler that has only that row of E, given only that layer's states."""
    e = encoder(MULTI)
    stored = LayerStates().documents(e, corpus())
    c = e.pooler.config
    alone = CrossAttentionPooler(PoolerConfig(c.width, c.latents, c.heads, c.head_dim, 1))
    tensors = e.pooler.state_dict()
    alone.load_state_dict({**tensors, "layer_matrix": tensors["layer_matrix"][layer : layer + 1]})
    with torch.inference_mode():
        expected = alone(torch.tensor(stored[:, layer : layer + 1])).numpy()
    keep = np.eye(3, dtype=int)[layer]
    np.testing.assert_allclose(Switched(e.pooler).vectors(stored, [keep])[0], expected, atol=1e-5)


def test_nothing_off_is_the_variants_own_vectors():
    e, words = encoder(MULTI), corpus()
    made = Switched(e.pooler).vectors(LayerStates().documents(e, words), np.ones((1, 3)))[0]
    np.testing.assert_allclose(made, e.encode(words.passages), atol=1e-5)


@pytest.mark.parametrize(("latents", "heads", "layers"), [(32, 2, 3), (1, 8, 12), (2, 1, 1)])
def test_both_orders_of_the_arithmetic_agree(latents, heads, layers, monkeypatch):
    torch.manual_seed(0)
    pooler = CrossAttentionPooler(PoolerConfig(16, latents, heads, 4, layers))
    for parameter in pooler.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    states = torch.randn(7, layers, 16)
    keeps = np.vstack([np.ones((1, layers)), np.eye(layers)]).astype(int)
    both = []
    for fold in (True, False):
        monkeypatch.setattr(Switched, "folds", lambda self, settings, fold=fold: fold)
        both.append(Switched(pooler).vectors(states, keeps))
    np.testing.assert_allclose(*both, atol=2e-6)
    monkeypatch.setattr("explorer.layers.switching.CHUNK_BYTES", 1)  # one text at a time
    np.testing.assert_allclose(Switched(pooler).vectors(states, keeps), both[0], atol=2e-6)


def test_the_cheaper_order_is_chosen():
    small = Switched(CrossAttentionPooler(PoolerConfig(384, 32, 6, 64, 6)))
    assert small.folds(13)
    assert not small.folds(1)


def test_a_setting_without_layers_is_a_defect():
    with pytest.raises(ValueError, match="keeps no layer"):
        Switched(encoder(MULTI).pooler).vectors(np.zeros((1, 3, 32), np.float32), [[0, 0, 0]])


# --------------------------------------------------------------------------------------------------------------- states


def test_states_are_computed_once_and_survive_a_restart(counted):
    e, words = encoder(MULTI), corpus()
    assert not LayerStates().is_stored(e, words)
    first = LayerStates().documents(e, words)
    assert first.shape == (27, 3, 32)
    read = sum(counted)
    np.testing.assert_array_equal(LayerStates().documents(e, words), first)
    assert sum(counted) == read == 27
    assert LayerStates().is_stored(e, words)


def test_states_are_kept_apart_by_variant_and_by_what_stands_for_a_layer():
    words, states = corpus(), LayerStates()
    found = [
        states.documents(encoder("eos-causal"), words),
        states.documents(encoder("mean-causal"), words),
        states.documents(encoder("eos-causal"), words, "layer-means"),
    ]
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_allclose(found[1], found[2], atol=1e-6)


def test_a_corpus_whose_states_are_too_many_is_refused(monkeypatch):
    monkeypatch.setattr(states, "LARGEST", 10 * 4 * 3 * 32)
    with pytest.raises(InputError, match="smaller corpus, up to 10 documents"):
        LayerStates().documents(encoder(MULTI), corpus())


def test_the_layers_of_a_variant_that_was_unloaded_cannot_be_read(monkeypatch):
    e = encoder(MULTI)
    monkeypatch.setattr(e, "_closed", True)
    with pytest.raises(InputError, match="was unloaded"):
        LayerStates.queries(e, ["text"])


# ------------------------------------------------------------------------------------------------------------- rankings


@pytest.fixture
def lab() -> LayerLab:
    return LayerLab(Comparer(Shelf()))


def test_reranking_is_the_ranking_of_rerun_vectors(lab):
    words = corpus()
    found = lab.rerank(MULTI, words, "blue fox eats", off=[2])
    documents, query = rerun(MULTI, TEXTS, [1, 0, 1]), rerun(MULTI, ["blue fox eats"], [1, 0, 1])[0]
    scores = documents @ query
    assert [h.score for h in found.ablated] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-5)
    assert [h.rank for h in found.ablated] == list(range(1, 28))
    for hit in found.ablated:
        assert hit.score == pytest.approx(float(scores[words.position[hit.id]]), abs=1e-5)
    assert [h.id for h in found.intact] == [
        h.id for h in lab.comparer.rank(f"tiny/{MULTI}", words, ["blue fox eats"], 27)[0]
    ]
    assert found.query_cosine == pytest.approx(float(query @ encoder(MULTI).encode(["blue fox eats"])[0]), abs=1e-5)
    assert found.query_cosine < 0.999
    assert sum(found.moves.values()) == 0
    json.dumps(found.to_json(5), allow_nan=False)


def test_nothing_off_moves_nothing(lab):
    found = lab.rerank(MULTI, corpus(), "red cat", off=[])
    assert found.intact == found.ablated
    assert found.query_cosine == pytest.approx(1, abs=1e-6)


def test_switching_runs_the_backbone_for_the_query_alone(lab, counted):
    words = corpus()
    lab.rerank(MULTI, words, "red cat", off=[1])
    counted.clear()
    lab.rerank(MULTI, words, "red cat", off=[1, 2])
    assert sum(counted) == 1


def test_why_here_says_what_each_layer_does_to_one_document(lab):
    words = corpus()
    found = lab.why_here(MULTI, words, "green dog runs", "d12")
    assert [m.layer for m in found.moves] == [1, 2, 3]
    assert found.candidates == 27
    for move in found.moves:
        again = next(h for h in lab.rerank(MULTI, words, "green dog runs", [move.layer]).ablated if h.id == "d12")
        assert (move.rank, move.score) == (again.rank, pytest.approx(again.score, abs=1e-5))
    assert sum(m.query_weight for m in found.moves) == pytest.approx(1, abs=1e-5)
    assert sum(m.document_weight for m in found.moves) == pytest.approx(1, abs=1e-5)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_document_beyond_the_candidates_joins_them():
    e, words = encoder(MULTI), corpus()
    ablation = Ablation(e, words, LayerStates().documents(e, words))
    found = ablation.why_here("red fox runs", "d26", [0, 1, 2])
    assert found.candidates == 4


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda lab, c: lab.rerank(MULTI, c, "q", [4]), "no layer 4; this backbone has layers 1 to 3"),
        (lambda lab, c: lab.rerank(MULTI, c, "q", [1, 2, 3]), "leave at least one on"),
        (lambda lab, c: lab.rerank(MULTI, c, "  ", [1]), "type a query first"),
        (lambda lab, c: lab.rerank("eos-causal", c, "q", [1]), "reads the last layer alone"),
        (lambda lab, c: lab.rerank("bm25", c, "q", [1]), "makes no vectors"),
        (lambda lab, c: lab.why_here(MULTI, c, "q", "nowhere"), "no document 'nowhere'"),
        (lambda lab, c: lab.ablate(MULTI, corpus(judged=False)), "no judged queries"),
        (lambda lab, c: lab.probe("eos-causal", corpus(judged=False)), "no judged queries"),
        (lambda lab, c: lab.probe("eos-causal", c, "tokens"), "one of layer-eos, layer-means"),
        (lambda lab, c: lab.documents(MULTI, c, "pink"), "no label 'pink'; it has: blue, green, red"),
        (lambda lab, c: lab.queries(MULTI, corpus(judged=False)), "has no queries"),
    ],
)
def test_bad_input_is_one_sentence(lab, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(lab, corpus())


# -------------------------------------------------------------------------------------------------------- every layer


@pytest.mark.parametrize("architecture", ["bert", "gemma3_text"])
def test_single_layers_are_measured_as_full_reruns(architecture):
    lab, words = LayerLab(Comparer(Shelf(architecture))), corpus()
    seen: list[tuple[str, int, int]] = []
    report = lab.ablate(MULTI, words, progress=lambda *at: seen.append(at))
    judged = judged_queries(words)
    layers = encoder(MULTI, architecture).backbone.layers
    for effect in report.layers:
        for keep, scores, cosine in (
            (1 - np.eye(layers, dtype=int)[effect.layer - 1], effect.removed, effect.removed_cosine),
            (np.eye(layers, dtype=int)[effect.layer - 1], effect.alone, effect.alone_cosine),
        ):
            documents = rerun(MULTI, TEXTS, keep.tolist(), architecture)
            queries = rerun(MULTI, list(judged.values()), keep.tolist(), architecture)
            expected = retrieval_quality(documents, queries, words, judged, 10)
            assert scores.mean("nDCG") == pytest.approx(expected.mean("nDCG"), abs=1e-9)
            intact = encoder(MULTI, architecture).encode(TEXTS)
            assert cosine == pytest.approx(float((documents * intact).sum(1).mean()), abs=1e-5)
    assert sum(e.weight for e in report.layers) == pytest.approx(1, abs=1e-5)
    assert report.effects[0] == pytest.approx(report.intact.mean("nDCG") - report.layers[0].removed.mean("nDCG"))
    assert {stage for stage, _, _ in seen} == {"reading layers", "ablating"}
    assert seen[-1] == ("ablating", 27, 27)
    found = report.to_json()
    assert found["queries"] == 6
    assert found["layers"][1]["removed_minus_intact"][0] == pytest.approx(-report.effects[1])
    json.dumps(found, allow_nan=False)


def test_quality_of_vectors_is_that_of_their_ranking():
    words, judged = corpus(), judged_queries(corpus())
    rng = np.random.default_rng(0)
    documents, queries = unit(rng.normal(size=(27, 8)).astype("f4")), unit(rng.normal(size=(6, 8)).astype("f4"))
    runs = {
        q: [Hit(words.ids[i], r, 0.0) for r, i in enumerate(np.argsort(-documents @ v), start=1)]
        for q, v in zip(judged, queries, strict=True)
    }
    expected = quality(runs, words.qrels, 10).values("nDCG")
    np.testing.assert_allclose(retrieval_quality(documents, queries, words, judged, 10).values("nDCG"), expected)


def test_an_ablation_can_be_stopped(lab):
    stop = threading.Event()

    def at_once(stage: str, done: int, total: int) -> None:
        stop.set()

    with pytest.raises(Cancelled):
        lab.ablate(MULTI, corpus(), progress=at_once, cancel=stop)
    assert lab.ablate(MULTI, corpus()).documents == 27


def test_new_judgments_are_seen_by_the_next_ablation(lab):
    words = corpus()
    before = lab.ablate(MULTI, words).intact
    more = words.with_judgments({"own": "green cat eats"}, {"own": {"d17": 1}})
    assert lab.ablate(MULTI, more).intact.n == before.n + 1


def test_rank_correlation_is_scipys_with_an_exact_p():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=6), rng.normal(size=6)
    found = rank_correlation(x, y)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)  # two of all orders are as strong
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation(list(range(30)), list(range(30))).p < 0.001


# ---------------------------------------------------------------------------------------------------------------- probe


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("eos-causal", "layer-eos"),
        ("mean-bidirectional", "layer-means"),
        (MULTI, "layer-means"),
        ("last-layer-causal", "layer-eos"),
    ],
)
def test_the_probe_measures_every_layers_own_vector(lab, name, read):
    words = corpus()
    probe = lab.probe(name, words)
    assert probe.read == read
    assert len(probe.ndcg) == 3
    assert all(0 <= score <= 1 for score in probe.ndcg)
    assert probe.ndcg[probe.best - 1] == max(probe.ndcg)
    assert probe.tokens == (None if read == "layer-eos" else "without-first")
    if name in ("eos-causal", "mean-bidirectional"):  # the last layer's own vector is what these designs hand out
        probe = lab.probe(name, words, tokens="all")
        assert probe.scores[-1].values("nDCG").tolist() == probe.own.values("nDCG").tolist()
    json.dumps(probe.to_json(), allow_nan=False)


def test_pairs_are_ordered_layer_by_layer():
    """Layer 1 has the pairs in the order of their scores, layer 2 in the opposite one, layer 3 tells none apart."""
    angles = np.array([[0.1, 1.2, 0.5], [0.4, 0.8, 0.5], [0.9, 0.2, 0.5]])
    first = np.tile([1.0, 0.0], (3, 3, 1))
    second = 7 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    assert pair_correlations(first, second, [3.0, 2.0, 1.0]) == pytest.approx((1, -1, 0))
    for scores in ([1.0, 2.0], [1.0, 1.0, 1.0]):
        with pytest.raises(InputError, match="say nothing"):
            pair_correlations(first[: len(scores)], second[: len(scores)], scores)


def test_a_probe_can_read_either_summary(lab):
    words = corpus()
    assert lab.probe("eos-causal", words, "layer-means").ndcg == lab.probe("mean-causal", words).ndcg


def test_a_corpus_of_one_document_and_hostile_queries(lab):
    one = Corpus("one", (Document("a", "<script>"),), {"q": "👩‍👩‍👧" * 200}, {"q": {"a": 1}})
    assert lab.ablate(MULTI, one).intact.mean("nDCG") == 1
    assert lab.rerank(MULTI, one, "שלום " * 9000, [1]).ablated[0].rank == 1


def test_fixed_weights_over_a_corpus_need_no_reading(lab, counted):
    sample = lab.documents("eos-causal", corpus(), "red")
    assert (sample.n, sample.learned, sample.mean.tolist()) == (9, False, [0, 0, 1])
    assert counted == []
