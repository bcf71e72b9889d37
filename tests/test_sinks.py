"""Attention sinks: shares by hand, a planted sink is found and named, and leaving it out brings retrieval back."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import tiny
import torch
from reading import Shelf, corpus, encoder
from torch import nn

from explorer.backbone import Backbone
from explorer.comparison import Comparer
from explorer.designs import DESIGNS
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import Cancelled, InputError
from explorer.figures import sinks as figures
from explorer.layers.lab import LayerLab
from explorer.layers.probe import unit
from explorer.layers.reading import read
from explorer.layers.sink_table import sink_table
from explorer.layers.sinks import decompose, in_words, marked, median_of_others, percent, sinks_of
from explorer.layers.states import LayerStates, probe_tokens

LONG = 1000.0
"""Norm of the planted token."""
PLANTED = 2
"""The layer from which on it is there, of three."""


class Plants(nn.Module):
    """A block whose first real token's state is exchanged for a long one that is the same for every text."""

    def __init__(self, block: nn.Module, direction: torch.Tensor) -> None:
        super().__init__()
        self.block, self.direction = block, direction

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._modules["block"], name)

    def forward(self, *args, **kwargs):
        out = self.block(*args, **kwargs)
        states = (out[0] if isinstance(out, tuple) else out).clone()
        states[:, 0] = LONG * self.direction
        return (states, *out[1:]) if isinstance(out, tuple) else states


@pytest.fixture(scope="module")
def planted() -> PooledEncoder:
    """A tiny Llama with a sink in layer 2; layer 3 is read after the final norm."""
    model = copy.deepcopy(tiny.model("llama"))
    direction = torch.nn.functional.normalize(torch.arange(1.0, tiny.WIDTH + 1), dim=0)
    model.layers[PLANTED - 1] = Plants(model.layers[PLANTED - 1], direction)
    shared = Backbone(model, tiny.tokenizer("llama"), "tiny/planted")
    return PooledEncoder.untrained(shared, DESIGNS["mean-causal"], "tiny/planted", TextSettings(64))


# ---------------------------------------------------------------------------------------------------------- arithmetic


def test_shares_by_hand():
    """Tokens (3, 0), (0, 1), and padding: the mean is (1.5, .5), its square 2.5, the shares 4.5 / 5 and .5 / 5."""
    states = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [float("nan"), 9.0]]])
    norms, shares, cosines = decompose(states, torch.tensor([[1, 1, 0]]))
    assert norms[0, :2].tolist() == [3, 1]
    assert shares[0].tolist() == pytest.approx([0.9, 0.1, 0])
    assert cosines[0, :2].tolist() == pytest.approx([1.5 / 2.5**0.5, 0.5 / 2.5**0.5])


def test_a_token_that_points_away_has_a_negative_share_and_all_sum_to_one():
    states = torch.tensor([[[4.0, 0.0], [-1.0, 0.0]]])
    _, shares, _ = decompose(states, torch.ones(1, 2))
    assert shares[0].tolist() == pytest.approx([4 / 3, -1 / 3])
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1, 0], [0, 1, 1, 0, 0]])
    _, shares, _ = decompose(torch.randn(2, 5, 8), mask)
    assert shares.sum(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (shares[mask == 0] == 0).all()


def test_states_of_no_length_have_no_shares():
    _, shares, cosines = decompose(torch.zeros(1, 3, 4), torch.ones(1, 3))
    assert torch.isfinite(shares).all()
    assert torch.isfinite(cosines).all()


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8])
def test_the_median_of_the_others_is_numpys(count):
    norms = np.random.default_rng(count).integers(1, 5, (3, count)).astype(float)  # with ties
    expected = [[np.median(np.delete(row, t)) for t in range(count)] for row in norms]
    np.testing.assert_allclose(median_of_others(norms), expected)


def test_a_sink_is_ten_times_as_long_as_the_median_of_the_others():
    assert marked(np.array([10.1, 1, 1, 1])).tolist() == [True, False, False, False]
    assert not marked(np.array([10.0, 1, 1, 1])).any()
    assert marked(np.array([50, 1, 60, 1, 1.0])).tolist() == [True, False, True, False, False]  # several
    assert not marked(np.array([1000.0])).any()  # the only token stands beside no other


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([7], "in layer 7"),
        ([12, 13, 14], "from layer 12 on"),
        ([12, 13], "in layers 12 to 13"),
        ([3, 7, 8, 9], "in layers 3 and 7 to 9"),
        ([1, 3, 5], "in layers 1, 3 and 5"),
        (list(range(1, 15)), "in every layer"),
        ([14], "in layer 14"),
    ],
)
def test_layers_in_words(layers, words):
    assert in_words(layers, 14) == words


def test_shares_in_words():
    assert [percent(v) for v in (0.998, 0.42, 0.0421, -0.02)] == ["99.8 %", "42 %", "4.2 %", "-2.0 %"]


# ----------------------------------------------------------------------------------------------------- a planted sink


def test_a_planted_sink_is_found_and_named(planted):
    found = sinks_of(planted, "red fox runs")
    assert found.layers == [PLANTED]
    assert found.sinks[PLANTED - 1].tolist() == [True] + [False] * (found.norms.shape[1] - 1)
    assert found.norms[PLANTED - 1, 0] == pytest.approx(LONG, rel=1e-4)
    np.testing.assert_allclose(found.shares.sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(found.rest.sum(1), 1, atol=1e-4)
    assert (found.rest[:, [0, -1]] == 0).all()  # the beginning and the end token
    told, without, own = found.sentences
    assert told.startswith(f"In layer {PLANTED}, one token (“<s>”) is a sink. In layer {PLANTED} it holds 9")
    assert "has norm 1,000" in told
    assert "no token holds more than" in without
    assert own == "This variant reads the last layer’s mean of all tokens."
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["sinks"] == [[], [0], []]
    assert document["longest"][PLANTED - 1]["sink"] is True


def test_norms_and_shares_are_those_of_the_layers_themselves(planted):
    found, shared = sinks_of(planted, "red fox"), planted.backbone
    ids, mask = shared.pad([found.spelling.ids])
    with torch.inference_mode():
        layers = shared.each_layer(ids, mask, "causal", lambda _, states: states[0].clone())
    means = LayerStates.queries(planted, ["red fox"], "layer-means", tokens="all")[0]
    for row, states in enumerate(layers):
        np.testing.assert_allclose(found.norms[row], states.norm(dim=1), rtol=1e-4)
        np.testing.assert_allclose(means[row], states.mean(0), rtol=1e-3, atol=1e-4)
        expected = states @ states.mean(0) / len(states) / states.mean(0).square().sum()
        np.testing.assert_allclose(found.shares[row], expected, atol=1e-4)


def test_without_a_sink_the_sentence_says_how_much_the_most_is():
    e = encoder("multi-layer-bidirectional")
    found = sinks_of(e, "the red fox sleeps")
    assert found.layers == []
    told, _, own = found.sentences
    assert told.startswith(f"No token is a sink: none holds more than {percent(found.shares.max())}")
    assert own == "This variant reads every layer’s mean of all tokens."
    assert sinks_of(encoder("eos-causal"), "red").sentences[2].startswith("This variant reads no mean")


def test_the_table_of_many_texts(planted):
    words = corpus()
    seen: list[tuple[int, int]] = []
    table = sink_table(planted, "words", words.passages, lambda *at: seen.append(at))
    assert seen[-1] == (27, 27)
    assert table.texts == 27
    assert table.sunk == [PLANTED]
    row = table.layers[PLANTED - 1]
    assert row.first == pytest.approx(LONG, rel=1e-4)
    each = [sinks_of(planted, text) for text in words.passages]
    assert row.share == pytest.approx(np.mean([one.shares[PLANTED - 1, 0] for one in each]), abs=1e-4)
    assert row.cosine == pytest.approx(np.mean([one.cosines[PLANTED - 1, 0] for one in each]), abs=1e-4)
    assert row.sinks == 1
    others = [np.median(one.norms[PLANTED - 1, 1:]) for one in each]
    assert row.others == pytest.approx(np.median(others), rel=1e-4)
    assert row.most_without == pytest.approx(np.mean([one.rest[PLANTED - 1].max() for one in each]), abs=1e-4)
    assert f"In layer {PLANTED} a text has 1.0 sinks" in table.sentence
    json.dumps(table.to_json(), allow_nan=False)


def test_a_table_can_be_stopped_and_needs_texts(planted):
    import threading

    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        sink_table(planted, "words", ["a"], cancel=stop)
    with pytest.raises(InputError, match="corpus 'empty' has no texts"):
        sink_table(planted, "empty", [" "])


def test_the_table_and_the_probe_measure_the_same(planted, home):
    """The planted state is the same in all texts: their means are nearly one vector, and without it they are not."""
    lab, words = LayerLab(Comparer(Shelf("llama"))), corpus()
    lab.comparer.shelf.encoders["tiny/planted"] = planted
    table = lab.sink_table("planted", words)
    for tokens, alike in (("all", True), ("without-first", False)):
        means = unit(lab.states.documents(planted, words, "layer-means", tokens=tokens)[:, PLANTED - 1])
        assert ((means @ means.T).min() > 0.95) == alike
    assert table.ndcg == lab.probe("planted", words, tokens="all").ndcg
    probe = lab.probe("planted", words)
    assert table.ndcg_without == probe.ndcg
    assert probe.to_json()["tokens"] == "without-first"
    assert probe.vector == "the mean of all tokens but the first and the special ones"
    weighted = lab.probe("planted", words, tokens="all", weights="unit")
    assert weighted.ndcg != table.ndcg
    assert weighted.to_json()["token_weights"] == "unit"
    json.dumps(table.to_json(), allow_nan=False)


# ------------------------------------------------------------------------------------------------- probes and readings


def test_a_probe_reads_the_tokens_that_are_asked_for_and_end_tokens_whatever_is(home):
    lab, words = LayerLab(Comparer(Shelf())), corpus()
    ends = [lab.probe("eos-causal", words, tokens=tokens, weights="unit") for tokens in ("all", "text", None)]
    assert {probe.tokens for probe in ends} == {None}
    assert {probe.weights for probe in ends} == {"uniform"}
    assert ends[0].ndcg == ends[1].ndcg == ends[2].ndcg
    assert ends[0].vector == "the end token"
    pairs = [("red fox", "red dog", 3.0), ("blue cat", "green cat", 2.0), ("red", "blue cat eats", 1.0)]
    assert lab.probe_pairs("mean-causal", "pairs", pairs).tokens == "without-first"
    assert lab.probe_pairs("mean-causal", "pairs", pairs, tokens="all").to_json()["vector"] == "the mean of all tokens"
    with pytest.raises(InputError, match="tokens 'some' is none of"):
        lab.probe("mean-causal", words, tokens="some")


def test_a_variant_that_leaves_out_more_is_probed_and_ablated_as_it_reads():
    shared = encoder("multi-layer-bidirectional")
    own = PooledEncoder(
        "own", shared.backbone, shared.design, shared.pooler, TextSettings(64, "ask: ", "doc: ", "text")
    )
    assert probe_tokens(own, "layer-means") == "text"
    assert probe_tokens(own, "layer-means", "all") == "all"
    assert probe_tokens(own, "layer-eos") is None
    assert probe_tokens(shared, "layer-means") == "without-first"
    states = LayerStates.queries(own, ["red fox"])  # what an ablation works on
    ids, mask = own.backbone.pad(own.backbone.tokenize(["ask: red fox"]))
    with torch.inference_mode():
        expected, _ = own.states(ids, mask, torch.tensor(own.prompt_lengths(["ask: red fox"], "query")))
    np.testing.assert_allclose(states, expected, atol=1e-6)


@pytest.mark.parametrize("tokens", ["all", "without-first", "text"])
@pytest.mark.parametrize("name", ["mean-bidirectional", "multi-layer-bidirectional", "last-layer-causal", "eos-causal"])
def test_a_reading_weighs_the_tokens_that_are_counted(name, tokens):
    made = encoder(name)
    e = PooledEncoder(
        f"tiny/{name}", made.backbone, made.design, made.pooler, TextSettings(64, "ask: ", "ask: ", tokens)
    )
    reading = read(e, "red fox", "query")
    np.testing.assert_allclose(reading.vector, e.encode(["red fox"], "query")[0], atol=1e-5)
    assert reading.tokens.mean.sum() == pytest.approx(1, abs=1e-6)
    assert reading.steps[-1].norms == pytest.approx((1,))
    if not made.design.means:
        assert tokens == "all" or "first" not in reading.tokens.sentence
        return
    roles = np.array(reading.spelling.roles)
    keep = {
        "all": np.ones(len(roles), bool),
        "without-first": np.isin(roles, ["text", "prompt"]),
        "text": roles == "text",
    }[tokens]
    np.testing.assert_allclose(reading.tokens.mean, keep / keep.sum(), atol=1e-6)
    assert f"1/{keep.sum()}" in reading.tokens.sentence
    if name == "mean-bidirectional":  # the mix of the steps is the mean itself
        mixed = next(step for step in reading.steps if step.name == "mix")
        ids, mask = e.backbone.pad([reading.spelling.ids])
        with torch.inference_mode():
            states = e.backbone.states(ids, mask, attention="bidirectional", read="tokens")[0][0]
        assert mixed.norms[0] == pytest.approx(float(states[torch.tensor(keep)].mean(0).norm()), rel=1e-5)


# ------------------------------------------------------------------------------------------------------------- figures


def test_the_picture_marks_the_sink(planted):
    found = sinks_of(planted, "red <b>fox")
    figure = figures.token_norms(found, "norms", "planted")
    heat, marks = figure.data
    np.testing.assert_allclose(heat.z, np.log10(found.norms), atol=1e-6)
    assert list(heat.y) == ["1", "2", "3"]
    assert (list(marks.x), list(marks.y)) == ([0], [str(PLANTED)])
    assert "× sink" in figure.layout.annotations[-1].text
    assert figure.layout.xaxis.ticktext[-1] in ("end token", *found.spelling.tokens)
    assert all("<b" not in str(name) for name in figure.layout.xaxis.ticktext)
    plain = figures.token_norms(sinks_of(encoder("mean-causal"), "red"), "norms", "bert")
    assert "sink" not in plain.layout.annotations[-1].text
    json.loads(figure.to_json())


def test_two_texts_are_drawn_on_one_scale(planted):
    both = [sinks_of(planted, text) for text in ("red fox", "a blue cat sleeps")]
    bounds = figures.norm_range(both)
    assert bounds == (min(one.norms.min() for one in both), max(one.norms.max() for one in both))
    drawn = [figures.token_norms(one, "norms", "planted", bounds).data[0] for one in both]
    assert drawn[0].zmin == drawn[1].zmin
    assert drawn[0].zmax == drawn[1].zmax


def test_scales_have_round_numbers():
    assert figures.scale_ticks(4.0, 13.0) == [5, 10]
    assert figures.scale_ticks(40.0, 23_000.0) == [100, 1000, 10_000]


def test_curves_of_what_one_token_holds(planted):
    both = [sinks_of(planted, text) for text in ("red fox", "a blue cat sleeps")]
    figure = figures.held_curves(both, "held", "planted", "#0072B2")
    names = [f"Text {n}, {what}" for n in "AB" for what in ("all tokens", "without the first")]
    assert [line.name for line in figure.data] == names
    np.testing.assert_allclose(figure.data[0].y, both[0].shares.max(1))
    np.testing.assert_allclose(figure.data[3].y, both[1].rest.max(1))
    assert figure.data[0].text[PLANTED - 1] == percent(both[0].shares[PLANTED - 1].max())
