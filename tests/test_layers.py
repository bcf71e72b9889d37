"""What a variant reads of a text: weights by hand, contributions that add up, steps, words, and hostile texts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from reading import backbone, corpus, encoder
from tiny import ARCHITECTURES

from explorer.designs import DESIGNS
from explorer.errors import InputError
from explorer.layers.contributions import contribution_vectors, contributions_of, layer_matrix, through_out
from explorer.layers.latents import group_latents
from explorer.layers.reading import Weights, check_layers, difference, read
from explorer.layers.samples import contrast, sample_weights
from explorer.layers.states import LayerStates
from explorer.layers.trace import trace
from explorer.layers.words import spell
from explorer.pooling import CrossAttentionPooler, PoolerConfig

MULTI = "multi-layer-bidirectional"
TEXT = "the red fox sleeps, unbelievably"


def by_hand(pooler: CrossAttentionPooler, states: np.ndarray) -> np.ndarray:
    """A [heads, N, n] of one text's states [n, d] in float64, from the paper's formulas alone."""
    w = {name: tensor.double().numpy() for name, tensor in pooler.state_dict().items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    c = pooler.config
    summed = states.astype(float) + (w["layer_matrix"] if c.layers else 0)
    q = norm(w["latents"], "norm_latents") @ w["to_q.weight"].T
    k = norm(summed, "norm_states") @ w["to_kv.weight"][: c.heads * c.head_dim].T
    weights = []
    for head in range(c.heads):
        part = slice(head * c.head_dim, (head + 1) * c.head_dim)
        scores = q[:, part] @ k[:, part].T / c.head_dim**0.5
        e = np.exp(scores - scores.max(1, keepdims=True))
        weights.append(e / e.sum(1, keepdims=True))
    return np.stack(weights)


def states_of(name: str, text: str, architecture: str = "bert") -> np.ndarray:
    e = encoder(name, architecture)
    ids, mask = e.backbone.pad(e.backbone.tokenize([text], 64))
    with torch.inference_mode():
        return e.backbone.states(ids, mask, attention=e.design.attention, read=e.design.states)[0][0].numpy()


# ------------------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("name", [n for n, d in DESIGNS.items() if d.trainable_pooler])
@pytest.mark.parametrize("architecture", ["bert", "qwen3"])
def test_weights_are_those_computed_by_hand(name, architecture):
    reading = read(encoder(name, architecture), TEXT)
    mine = reading.layers if "multi" in name else reading.tokens
    expected = by_hand(encoder(name, architecture).pooler, states_of(name, TEXT, architecture))
    assert mine.learned
    assert np.ptp(mine.mean) > 1e-3  # else nothing is tested
    np.testing.assert_allclose(mine.values, expected, atol=1e-6)
    np.testing.assert_allclose(mine.values.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["multi-layer-causal", MULTI, "last-layer-bidirectional"])
def test_weights_ignore_padding_and_batch_mates(name):
    e, texts = encoder(name), [TEXT, "a cat", "a text much longer than the others, for the padding it makes " * 2]
    ids = e.backbone.tokenize(texts, 64)
    for side in ("right", "left"):
        with torch.inference_mode():
            states, mask = e.backbone.states(
                *e.backbone.pad(ids, side), attention=e.design.attention, read=e.design.states
            )
            together = e.pooler(states, mask, return_weights=True)[1].numpy()
        for row, text in zip(together, texts, strict=True):
            reading = read(e, text)
            alone = reading.layers if "multi" in name else reading.tokens
            n = alone.values.shape[-1]
            mine = row if "multi" in name else row[..., :n] if side == "right" else row[..., -n:]
            np.testing.assert_allclose(mine, alone.values, atol=2e-6)
            np.testing.assert_allclose(mine.sum(-1), 1, atol=1e-6)  # nothing is left for the padding


BERTS = ("bert", "roberta", "xlm-roberta", "camembert", "mpnet")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_and_number_of_layers_can_be_read(architecture):
    e = encoder("multi-layer-causal", architecture)
    reading = read(e, TEXT)
    assert reading.to_json()["layers"] == list(range(1, e.backbone.layers + 1))
    assert reading.layers.mean.sum() == pytest.approx(1, abs=1e-6)
    says = [note for note in reading.notes if "final norm" in note]
    assert len(says) == (0 if architecture in BERTS else 1)  # they have none
    if says:
        assert says[0].startswith(f"Layer {e.backbone.layers} ")


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_has_weights_and_its_own_vector(name):
    e = encoder(name)
    reading = read(e, TEXT)
    for weights in (reading.layers, reading.tokens):
        assert weights.mean.sum() == pytest.approx(1, abs=1e-6)
        assert weights.learned == (weights.sentence == "")  # fixed ones say what they are
    assert [reading.layers.learned, reading.tokens.learned] == [
        e.design.pooling == "multi-layer",
        e.design.pooling == "last-layer",
    ]
    assert reading.words.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(reading.vector, e.encode([TEXT])[0], atol=1e-5)


def test_the_fixed_weights_of_designs_without_a_pooler():
    eos, mean = read(encoder("eos-causal"), TEXT), read(encoder("mean-bidirectional"), TEXT)
    assert eos.layers.mean.tolist() == mean.layers.mean.tolist() == [0, 0, 1]
    assert eos.tokens.mean.tolist() == [0] * (len(eos.spelling.ids) - 1) + [1]
    np.testing.assert_allclose(mean.tokens.mean, 1 / len(mean.spelling.ids))
    assert "end token alone" in eos.tokens.sentence
    assert f"1/{len(mean.spelling.ids)}" in mean.tokens.sentence
    assert "weight 1 on layer 3" in eos.layers.sentence


def test_entropy_and_spread():
    weights = Weights(np.array([[[0.5, 0.5, 0, 0], [0.25] * 4], [[1, 0, 0, 0], [0.25] * 4]]), True)
    np.testing.assert_allclose(weights.entropy, [[1, 2], [0, 2]])
    assert Weights(np.full((1, 1, 4), 0.25), True).effective == pytest.approx(4)
    assert weights.uniform == 0.25
    np.testing.assert_allclose(weights.mean, [0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(weights.heads, [[0.375, 0.375, 0.125, 0.125], [0.625, 0.125, 0.125, 0.125]])
    np.testing.assert_allclose(weights.latents, [[0.75, 0.25, 0, 0], [0.25] * 4])


def test_the_document_is_json_with_what_the_command_line_promises():
    found = json.loads(json.dumps(read(encoder(MULTI), TEXT, "query").to_json(), allow_nan=False))
    assert found["variant"] == f"tiny/{MULTI}"
    assert found["layers"] == [1, 2, 3]
    assert sum(found["mean"]) == pytest.approx(1, abs=1e-6)
    assert np.shape(found["heads"]) == (2, 3)
    assert np.shape(found["latents"]) == (5, 3)
    assert sum(found["contributions"]["share"]) == pytest.approx(1, abs=1e-5)
    assert np.shape(found["layer_matrix"]["cosines"]) == (3, 3)
    assert found["layer_matrix"]["form"] == "before-norm"
    assert -1 <= found["layer_matrix"]["cosine_without"] < 1
    assert found["layer_matrix"]["sentence"].startswith("Without the layer matrix E")


# ----------------------------------------------------------------------------------- contributions, layer matrix, steps


@pytest.mark.parametrize("name", [n for n, d in DESIGNS.items() if d.trainable_pooler])
def test_contributions_sum_to_the_attention_output(name):
    pooler, states = encoder(name).pooler, torch.tensor(states_of(name, TEXT))
    keys, values = pooler.keys_values(states[None])
    weights = pooler.attention(keys, None)
    expected = pooler.mix(weights, values)[0]  # [N, d]
    vectors = torch.stack(list(contribution_vectors(weights[0], through_out(pooler, values[0]))), 1)  # [N, n, d]
    np.testing.assert_allclose(vectors.sum(1), expected, atol=1e-5)
    found = contributions_of(pooler, weights[0], values[0])
    np.testing.assert_allclose(found.norms, vectors.norm(dim=-1), atol=1e-5)
    np.testing.assert_allclose(found.output, expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.parts.sum(0), expected.mean(0), atol=1e-5)
    assert found.along.sum() == pytest.approx(1, abs=1e-5)
    assert found.share.sum() == pytest.approx(1, abs=1e-5)


def test_a_heads_contribution_is_that_of_the_pooler_with_that_head_alone():
    pooler, states = encoder(MULTI).pooler, torch.tensor(states_of(MULTI, TEXT))
    keys, values = pooler.keys_values(states[None])
    weights = pooler.attention(keys, None)
    found = contributions_of(pooler, weights[0], values[0]).heads
    for head in range(2):
        for layer in range(3):
            only = torch.zeros_like(weights)
            only[:, head, :, layer] = weights[:, head, :, layer]
            expected = pooler.mix(only, values)[0].norm(dim=-1).mean()
            assert found[head, layer] == pytest.approx(float(expected), abs=1e-5)


def test_the_layer_matrix():
    e = encoder(MULTI)
    matrix = read(e, TEXT).matrix
    rows = e.pooler.layer_matrix.numpy()
    np.testing.assert_allclose(matrix.norms, np.linalg.norm(rows, axis=1), rtol=1e-5)
    np.testing.assert_allclose(matrix.cosines, matrix.cosines.T)
    np.testing.assert_allclose(np.diag(matrix.cosines), 1, atol=1e-6)
    assert matrix.cosines[0, 1] == pytest.approx(
        float(rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])), abs=1e-5
    )
    assert read(encoder("last-layer-causal"), TEXT).matrix is None


def pooler_of(place: str, scale: float) -> tuple[CrossAttentionPooler, torch.Tensor]:
    """A pooler whose rows of E are .4 long, and three layer states of `scale` times 1, 10 and 100."""
    torch.manual_seed(4)
    pooler = CrossAttentionPooler(PoolerConfig(32, 4, 2, 16, layers=3, layer_matrix_added=place))
    pooler.init_near_mean()
    with torch.no_grad():
        pooler.layer_matrix.mul_(0.4 / pooler.layer_matrix.norm(dim=1, keepdim=True))
    states = torch.nn.functional.normalize(torch.randn(3, 32), dim=-1)
    return pooler, states * torch.tensor([[1.0], [10.0], [100.0]]) * scale


@pytest.mark.parametrize("place", ["before-norm", "after-norm"])
def test_what_the_layer_matrix_contributes_is_the_difference_to_a_pooler_without(place):
    pooler, states = pooler_of(place, 1)
    found = layer_matrix(pooler, states)
    zeroed = CrossAttentionPooler(pooler.config)
    zeroed.load_state_dict({**pooler.state_dict(), "layer_matrix": torch.zeros(3, 32)})
    with torch.inference_mode():
        (vector, a), (other, b) = (p(states[None], return_weights=True) for p in (pooler, zeroed))
        keys, keys_0 = (p.keys_values(states[None])[0][0] for p in (pooler, zeroed))  # [heads, L, head_dim]
    assert found.form == place
    assert found.cosine_without == pytest.approx(float(vector[0] @ other[0]), abs=1e-6)
    assert found.moved == pytest.approx(float((a - b).abs().sum(-1).mean() / 2), rel=1e-4)
    spread = [(k - k.mean(1, keepdim=True)).square().sum() for k in (keys - keys_0, keys_0)]
    assert found.keys == pytest.approx(float(spread[0] / spread[1]), rel=1e-3)
    np.testing.assert_allclose(found.norms, 0.4, rtol=1e-5)
    lengths = states.norm(dim=1) if place == "before-norm" else torch.full((3,), 32**0.5)
    np.testing.assert_allclose(found.state_norms, lengths, rtol=1e-3)
    assert torch.equal(pooler.state_dict()["layer_matrix"].norm(dim=1).round(decimals=4), torch.full((3,), 0.4))


def test_the_sentence_says_when_the_layer_matrix_does_nothing():
    """Rows of .4 beside states of 360 to 36,000 are not seen; added after the norm they are."""
    lost = layer_matrix(*pooler_of("before-norm", 360))
    assert lost.idle
    assert lost.cosine_without > 0.99999
    assert "before the norm, LN_h(H + E); its rows are 0.4 long, the states 360 to 36,000." in lost.sentence
    assert lost.sentence.endswith("So E does next to nothing here.")
    seen = layer_matrix(*pooler_of("after-norm", 360))
    assert not seen.idle
    assert "after the norm, LN_h(H) + E; its rows are 0.4 long, the normalized states 5.7." in seen.sentence
    assert "next to nothing" not in seen.sentence


def test_e_of_zero_contributes_nothing():
    pooler, states = pooler_of("after-norm", 1)
    torch.nn.init.zeros_(pooler.layer_matrix)
    found = layer_matrix(pooler, states)
    assert (found.moved, found.keys) == (0, 0)
    assert found.cosine_without == pytest.approx(1, abs=1e-6)
    assert "a cosine of 1.000000 to the one shown, and less than 0.01 % of the attention" in found.sentence


def test_a_pooler_with_e_after_the_norm_has_its_steps_in_that_order():
    pooler, states = pooler_of("after-norm", 1)
    steps = trace(pooler.requires_grad_(False), states, 5, "layer-means")
    assert [s.formula for s in steps[2:6]] == [
        "LN_h(H)", "LN_h(H) + E", "K = (LN_h(H) + E) W_k", "V = (LN_h(H) + E) W_v",
    ]  # fmt: skip
    np.testing.assert_allclose(steps[2].norms, 32**0.5, rtol=1e-3)
    np.testing.assert_allclose(steps[3].norms, pooler.normed(states).norm(dim=1), rtol=1e-6)
    keys, _ = pooler.keys_values(states[None])
    np.testing.assert_allclose(steps[4].norms, keys[0].transpose(0, 1).flatten(1).norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_steps_end_in_the_vector(name):
    e = encoder(name)
    steps = read(e, TEXT).steps
    assert [steps[0].name, steps[-1].name] == ["tokens", "vector"]
    assert steps[-1].shape == (32,)
    assert steps[-1].norms == pytest.approx((1,))
    assert [s.formula == "H + E" for s in steps].count(True) == (e.design.pooling == "multi-layer")
    for step in steps:
        count = {"layer": 3, "token": len(read(e, TEXT).spelling.ids), "latent": 5}.get(step.per)
        assert count is None or len(step.norms) == count, step.name


def test_the_norms_of_the_steps_are_those_of_the_pooler():
    e, states = encoder(MULTI), torch.tensor(states_of(MULTI, TEXT))
    steps = {s.formula: s for s in read(e, TEXT).steps}
    p = e.pooler
    keys, values = p.keys_values(states[None])
    x = p.mix(p.attention(keys, None), values)[0] + p.latents
    mean = steps["mean of X"].norms[0]
    value, gate = p.mlp_in(p.norm_mlp(x)).chunk(2, -1)
    expected = (x + p.mlp_out(value * torch.nn.functional.gelu(gate))).mean(0)
    assert mean == pytest.approx(float(expected.norm()), rel=1e-5)
    np.testing.assert_allclose(expected / expected.norm(), e.encode([TEXT])[0], atol=1e-5)
    np.testing.assert_allclose(steps["H + E"].norms, (states + p.layer_matrix).norm(dim=1), rtol=1e-5)
    np.testing.assert_allclose(
        steps["K = LN_h(H + E) W_k"].norms, keys[0].transpose(0, 1).flatten(1).norm(dim=1), rtol=1e-5
    )


# ------------------------------------------------------------------------------------------------------------- latents


def test_latents_are_grouped_by_what_they_read_lowest_first():
    rows = np.array([[0, 0, 1.0], [1, 0, 0], [0.9, 0.1, 0], [0, 0.05, 0.95], [1, 0, 0]])
    groups = group_latents(rows, most=2)
    assert groups.labels.tolist() == [2, 1, 1, 2, 1]
    assert groups.sizes == [3, 2]
    assert groups.order.tolist()[:3] == [1, 4, 2]
    np.testing.assert_allclose(groups.means[1], [0, 0.025, 0.975])


def test_hundreds_of_latents_stay_few_groups_and_equal_ones_are_one():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(28, 0.3), 768)
    groups = group_latents(rows)
    assert len(groups.means) <= 8
    assert sorted(groups.order.tolist()) == list(range(768))
    assert groups.labels.tolist() == group_latents(rows).labels.tolist()
    assert len(group_latents(np.full((40, 6), 1 / 6)).means) == 1
    assert len(group_latents(rows[:1]).means) == 1


# ----------------------------------------------------------------------------------------------------- words and texts


def test_words_are_joined_and_marked(minilm):
    spelling = spell(minilm, "unbelievably tokenizable, 日本", prompt="query: ")
    assert [(w.text, w.role) for w in spelling.words] == [
        ("[CLS]", "special"), ("query", "prompt"), (":", "prompt"), ("unbelievably", "text"), ("tokenizable", "text"),
        (",", "text"), ("日", "text"), ("本", "text"), ("[SEP]", "end"),
    ]  # fmt: skip
    assert len(spelling.ids) > len(spelling.words)
    text = "unbelievably tokenizable, 日本"
    assert all(text[w.start : w.end] == w.text for w in spelling.words if w.role == "text")
    weights = np.arange(len(spelling.ids), dtype=float)
    assert spelling.join(weights).sum() == weights.sum()
    assert spelling.join(weights)[-1] == weights[-1]


HOSTILE = {
    "emoji": "👩‍👩‍👧 🏳️‍🌈 ok",
    "right to left": "שלום עולם مرحبا بالعالم",
    "markup": "<script>alert(1)</script> & [SEP] </s> <|endoftext|>",
    "long": "word " * 20_000,
    "no space": "x" * 100_000,
    "half a surrogate": "a \ud800 b",
    "control": "a\x00b\u200b\u202e c",
    "one letter": "a",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    ("name", "architecture"), [(MULTI, "bert"), ("last-layer-causal", "qwen3"), ("eos-causal", "gpt2")]
)
def test_hostile_texts_are_read(text, name, architecture):
    e = encoder(name, architecture, "query: ")
    reading = read(e, text)
    assert reading.spelling.ids == tuple(e.backbone.tokenize(["query: " + text], 64)[0])
    assert reading.words.sum() == pytest.approx(1, abs=1e-5)
    assert reading.spelling.roles[-1] == "end"
    json.dumps(reading.to_json(), ensure_ascii=False, allow_nan=False).encode()
    cut = any("is cut" in note for note in reading.notes)
    assert cut == (len(reading.spelling.ids) == 64)
    if len(text) >= 100_000:
        assert any("of 100,000 characters" in note for note in reading.notes)


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_text_is_refused(text):
    with pytest.raises(InputError, match="type a text first"):
        read(encoder(MULTI), text)


def test_a_model_that_keeps_its_layers_to_itself_is_refused():
    class Other:
        name = "some-model"

    with pytest.raises(InputError, match="'some-model' keeps its layers to itself"):
        read(Other(), "text")


# ---------------------------------------------------------------------------------------------------------- many texts


def test_weights_over_a_corpus_are_those_of_its_texts(home):
    e, words = encoder(MULTI), corpus()
    sample = sample_weights(e, LayerStates().documents(e, words), "documents")
    one_by_one = np.stack([read(e, text).layers.mean for text in words.passages])
    np.testing.assert_allclose(sample.values, one_by_one, atol=1e-5)
    np.testing.assert_allclose(sample.heads.mean(0), sample.mean, atol=1e-6)
    np.testing.assert_allclose(sample.latents.mean(0), sample.mean, atol=1e-6)
    np.testing.assert_allclose(sample.quantiles[2], np.median(one_by_one, axis=0), atol=1e-5)
    assert sample.n == 27
    json.dumps(sample.to_json(), allow_nan=False)


def test_fixed_designs_have_fixed_weights_over_a_corpus(home):
    e, words = encoder("eos-causal"), corpus()
    sample = sample_weights(e, LayerStates().documents(e, words), "documents")
    assert sample.quantiles.tolist() == [[0, 0, 1]] * 5
    assert "last layer alone" in sample.sentence
    assert contrast(sample, sample).mean.tolist() == [0, 0, 0]


def test_the_contrast_of_two_groups_has_welchs_interval(home):
    from scipy import stats

    e, words = encoder(MULTI), corpus()
    states = LayerStates().documents(e, words)
    a, b = sample_weights(e, states[:9], "red"), sample_weights(e, states[9:], "others")
    found = contrast(a, b)
    np.testing.assert_allclose(found.mean, a.values.mean(0) - b.values.mean(0), atol=1e-7)
    expected = stats.ttest_ind(a.values, b.values, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose(found.low, expected.low, atol=1e-6)
    np.testing.assert_allclose(found.high, expected.high, atol=1e-6)
    assert found.texts == (9, 18)
    with pytest.raises(InputError, match="no texts in the group 'none'"):
        sample_weights(e, states[:0], "none")


def test_differences_need_the_same_layers():
    a, b = read(encoder(MULTI), TEXT).layers, read(encoder("multi-layer-causal"), TEXT).layers
    np.testing.assert_allclose(difference(a, b).mean, a.mean - b.mean)
    np.testing.assert_allclose(difference(a, b).heads, a.heads - b.heads)
    assert difference(a, read(encoder("eos-causal"), TEXT).layers).heads is None
    with pytest.raises(InputError, match="same number of layers"):
        difference(a, read(encoder(MULTI, "modernbert"), TEXT).layers)


def test_layer_numbers_are_checked():
    assert check_layers([3, 1, 3], 3) == [1, 3]
    for bad in (0, 4, 1.5, True, "1"):
        with pytest.raises(InputError, match="layers 1 to 3"):
            check_layers([bad], 3)


def test_a_pooler_of_one_layer_and_one_latent():
    pooler = CrossAttentionPooler(PoolerConfig(8, 1, 1, 4, 1))
    states = torch.randn(1, 1, 8)
    keys, values = pooler.keys_values(states)
    weights = pooler.attention(keys, None)
    found = contributions_of(pooler, weights[0].detach(), values[0].detach())
    assert found.share.tolist() == [1]


def test_the_backbone_says_where_tokens_stand():
    spans = backbone("bert").spans("ab c", 64)
    assert [(s.start, s.end) for s in spans[1:-1]] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [s.special for s in spans] == [True, False, False, False, False, True]
