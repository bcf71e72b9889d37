"""The poolers against a plain transcription of the mathematics, numbers checkable by hand, and what must not matter."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from explorer.designs import DESIGNS, design
from explorer.errors import InputError
from explorer.pooling import (
    CrossAttentionPooler,
    EosPooler,
    MeanPooler,
    PoolerConfig,
    build_pooler,
    from_paper_state_dict,
    last_real,
)

WIDTH = 24
SIZES = {
    "one head": PoolerConfig(WIDTH, latents=3, heads=1, head_dim=8),
    "last layer": PoolerConfig(WIDTH, latents=5, heads=4, head_dim=6),
    "wide heads": PoolerConfig(WIDTH, latents=2, heads=3, head_dim=20),
    "one latent": PoolerConfig(WIDTH, latents=1, heads=2, head_dim=7),
    "multi layer": PoolerConfig(WIDTH, latents=5, heads=4, head_dim=6, layers=6),
    "multi layer, many latents": PoolerConfig(WIDTH, latents=40, heads=2, head_dim=8, layers=4),
    "multi layer, E after the norm": PoolerConfig(WIDTH, 5, 4, 6, layers=6, layer_matrix_added="after-norm"),
}


def random_pooler(config: PoolerConfig, seed: int = 0) -> CrossAttentionPooler:
    """A pooler whose every weight, norms and biases included, is drawn anew: none may be one or zero by default."""
    torch.manual_seed(seed)
    pooler = CrossAttentionPooler(config)
    with torch.no_grad():
        for name, parameter in pooler.named_parameters():
            parameter.normal_(std=0.4 if name in ("latents", "layer_matrix") else 0.25)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)
    return pooler


def inputs(config: PoolerConfig, seed: int = 1) -> tuple[Tensor, Tensor]:
    """States [4, n, d] and a mask with real states on the left, in the middle, on the right and everywhere."""
    generator = torch.Generator().manual_seed(seed)
    n = config.layers or 7
    states = torch.randn(4, n, config.width, generator=generator)
    mask = torch.ones(4, n, dtype=torch.long)
    if not config.layers:
        mask[0, 3:], mask[1, :2], mask[1, 5:], mask[2, :5] = 0, 0, 0, 0
    return states, mask


# ------------------------------------------------------------------------------------------- the mathematics, plainly


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-5) * weight + bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def plain(pooler: CrossAttentionPooler, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """DESIGN.md, section 1, word for word: a loop over texts, heads and latents; nothing folded, nothing reordered."""
    c, p = pooler.config, dict(pooler.named_parameters())
    inner = c.heads * c.head_dim
    w_q, w_kv, w_o = p["to_q.weight"].T, p["to_kv.weight"].T, p["to_out.weight"].T
    embeddings, weights = [], []
    for text, real in zip(states, mask, strict=True):
        positions = [i for i in range(len(text)) if real[i]]
        before = c.layers and c.layer_matrix_added == "before-norm"
        after = c.layers and c.layer_matrix_added == "after-norm"
        rows = [text[i] + (p["layer_matrix"][i] if before else 0) for i in positions]
        rows = [layer_norm(row, p["norm_states.weight"], p["norm_states.bias"]) for row in rows]
        rows = [row + p["layer_matrix"][i] if after else row for i, row in zip(positions, rows, strict=True)]
        latents = [layer_norm(z, p["norm_latents.weight"], p["norm_latents.bias"]) for z in p["latents"]]
        attention = torch.zeros(c.heads, c.latents, len(text))
        outputs = []
        for l in range(c.latents):
            concatenated = []
            for h in range(c.heads):
                columns = slice(h * c.head_dim, (h + 1) * c.head_dim)
                q = (latents[l] @ w_q)[columns]
                keys = [(row @ w_kv[:, :inner])[columns] for row in rows]
                values = [(row @ w_kv[:, inner:])[columns] for row in rows]
                a = torch.softmax(torch.stack([q @ k for k in keys]) * c.head_dim**-0.5, dim=0)
                for where, share in zip(positions, a.detach(), strict=True):
                    attention[h, l, where] = share
                concatenated.append(sum(share * value for share, value in zip(a, values, strict=True)))
            x = torch.cat(concatenated) @ w_o + p["latents"][l]
            hidden = layer_norm(x, p["norm_mlp.weight"], p["norm_mlp.bias"]) @ p["mlp_in.weight"].T + p["mlp_in.bias"]
            value, gate = hidden[: 4 * c.width], hidden[4 * c.width :]
            outputs.append(x + (value * gelu(gate)) @ p["mlp_out.weight"].T + p["mlp_out.bias"])
        mean = sum(outputs) / c.latents
        embeddings.append(mean / mean.norm())
        weights.append(attention)
    return torch.stack(embeddings), torch.stack(weights)


@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
def test_a_trainable_pooler_computes_the_mathematics(config):
    pooler = random_pooler(config)
    states, mask = inputs(config)
    embedding, weights = pooler(states, mask, return_weights=True)
    expected, expected_weights = plain(pooler, states, mask)
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
def test_gradients_are_those_of_the_mathematics(config):
    pooler = random_pooler(config)
    states, mask = inputs(config)
    direction = torch.randn(4, config.width, generator=torch.Generator().manual_seed(2))

    def gradients(forward) -> dict[str, Tensor]:
        here = states.clone().requires_grad_()
        pooler.zero_grad()
        (forward(here) * direction).sum().backward()
        return {"states": here.grad, **{name: p.grad.clone() for name, p in pooler.named_parameters()}}

    ours, expected = gradients(lambda s: pooler(s, mask)), gradients(lambda s: plain(pooler, s, mask)[0])
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    for name in ("to_q.weight", "latents", *(["layer_matrix"] if config.layers else [])):
        assert ours[name].abs().max() > 1e-4, f"{name} gets no gradient"


@pytest.mark.parametrize("name", ["last-layer-bidirectional", "multi-layer-bidirectional"])
def test_queries_are_trained(name):
    """The released code of the paper feeds its Model 2 one token: a softmax over one element trains no queries."""
    pooler = build_pooler(design(name), WIDTH, 3)
    pooler(torch.randn(2, 3, WIDTH), torch.ones(2, 3))[:, 0].sum().backward()
    assert pooler.to_q.weight.grad.abs().max() > 0
    assert pooler.latents.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("n", "latents", "folds"), [(2, 64, True), (6, 32, True), (64, 2, False), (200, 8, False), (9, 9, False)]
)
def test_both_orders_of_mixing_agree(monkeypatch, n, latents, folds):
    """V W_o first or A V first: sizes choose, the result is one. `plain` has the second order."""
    config = PoolerConfig(WIDTH, latents=latents, heads=4, head_dim=16)
    pooler = random_pooler(config)
    used = []
    real_out = pooler.to_out.forward
    monkeypatch.setattr(pooler.to_out, "forward", lambda x: used.append(True) or real_out(x))
    weights = torch.rand(3, 4, latents, n).softmax(-1)
    values = torch.randn(3, 4, n, 16)
    mixed = pooler.mix(weights, values)
    assert bool(used) is not folds
    expected = real_out((weights @ values).transpose(1, 2).reshape(3, latents, 64))
    torch.testing.assert_close(mixed, expected, rtol=0, atol=2e-6)


# -------------------------------------------------------------------------------------------------- numbers by hand


HAND = torch.tensor([[[3.0, 4.0], [0.0, 2.0], [6.0, 0.0]]])


@pytest.mark.parametrize(
    ("mask", "eos", "mean"),
    [
        ([1, 1, 1], [1.0, 0.0], [9.0, 6.0]),
        ([1, 1, 0], [0.0, 1.0], [3.0, 6.0]),
        ([1, 0, 0], [0.6, 0.8], [3.0, 4.0]),
        ([0, 1, 1], [1.0, 0.0], [6.0, 2.0]),
        ([0, 1, 0], [0.0, 1.0], [0.0, 2.0]),
    ],
)
def test_fixed_poolers_by_hand(mask, eos, mean):
    mask = torch.tensor([mask])
    torch.testing.assert_close(EosPooler()(HAND, mask), torch.tensor([eos]))
    mean = torch.tensor([mean])
    torch.testing.assert_close(MeanPooler()(HAND, mask), mean / mean.norm())


def test_last_real_token_on_either_padding_side():
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0]])
    assert last_real(mask).tolist() == [1, 3, 3, 0, 2]


def test_without_a_mask_every_state_counts():
    assert torch.equal(MeanPooler()(HAND), MeanPooler()(HAND, torch.ones(1, 3)))
    assert torch.equal(EosPooler()(HAND), EosPooler()(HAND, torch.ones(1, 3)))
    pooler = random_pooler(SIZES["last layer"])
    states, _ = inputs(pooler.config)
    assert torch.equal(pooler(states), pooler(states, torch.ones(4, 7)))


# ------------------------------------------------------------------------------------- what must and must not matter

POOLERS = {
    "eos": EosPooler(),
    "mean": MeanPooler(),
    "last layer": random_pooler(SIZES["last layer"]).eval(),
    "one head": random_pooler(SIZES["one head"]).eval(),
}


@pytest.mark.parametrize("pooler", POOLERS.values(), ids=POOLERS)
def test_weights_are_a_distribution_over_real_states(pooler):
    states, mask = inputs(SIZES["last layer"])
    embedding, weights = pooler(states, mask, return_weights=True)
    heads, latents = (
        (pooler.config.heads, pooler.config.latents) if isinstance(pooler, CrossAttentionPooler) else (1, 1)
    )
    assert weights.shape == (4, heads, latents, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, heads, latents), rtol=0, atol=1e-6)
    padded = (mask == 0)[:, None, None, :].expand_as(weights)
    assert weights[padded].eq(0).all()
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("pooler", POOLERS.values(), ids=POOLERS)
def test_padded_states_do_not_leak(pooler, poison):
    states, mask = inputs(SIZES["last layer"])
    clean, clean_weights = pooler(states, mask, return_weights=True)
    states[mask == 0] = poison
    dirty, dirty_weights = pooler(states, mask, return_weights=True)
    assert torch.equal(clean, dirty)
    assert torch.equal(clean_weights, dirty_weights)


@pytest.mark.parametrize("pooler", POOLERS.values(), ids=POOLERS)
def test_padding_side_order_and_batch_mates_do_not_matter(pooler):
    states, _ = inputs(SIZES["last layer"])
    lengths = [3, 1, 7, 5]
    alone = torch.cat([pooler(states[i : i + 1, :n]) for i, n in enumerate(lengths)])
    assert (alone[0] - alone[1]).abs().max() > 1e-3  # the texts do differ
    for side in ("left", "right"):
        padded, mask = torch.randn(4, 9, WIDTH), torch.zeros(4, 9)
        for i, n in enumerate(lengths):
            span = slice(0, n) if side == "right" else slice(9 - n, 9)
            padded[i, span], mask[i, span] = states[i, :n], 1
        torch.testing.assert_close(pooler(padded, mask), alone, rtol=0, atol=1e-6)
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(pooler(padded[order], mask[order]), alone[order], rtol=0, atol=1e-6)


def test_a_masked_state_counts_for_nothing_in_the_multi_layer_pooler():
    """With all layers but one masked, the softmax is over one element: the ablation that the app draws."""
    pooler = random_pooler(SIZES["multi layer"])
    states, _ = inputs(pooler.config)
    whole = pooler(states)
    for layer in range(pooler.config.layers):
        mask = torch.zeros(4, pooler.config.layers)
        mask[:, layer] = 1
        embedding, weights = pooler(states, mask, return_weights=True)
        assert torch.equal(weights[..., layer], torch.ones(4, 4, 5))
        # By hand: every latent of every head takes V of that layer, its own row of E included.
        value = pooler.norm_states(states[:, layer] + pooler.layer_matrix[layer]) @ pooler.to_kv.weight[24:].T
        mixed = (value @ pooler.to_out.weight.T)[:, None].expand(4, 5, WIDTH)
        torch.testing.assert_close(embedding, pooler.head(mixed), rtol=0, atol=1e-6)
        assert (embedding - whole).abs().max() > 1e-3


@pytest.mark.parametrize("size", ["multi layer", "multi layer, E after the norm"])
def test_the_layer_matrix_tells_layers_apart(size):
    """Without E the pooler could not tell two layers with swapped states from the original; with it, it can."""
    pooler = random_pooler(SIZES[size])
    states, _ = inputs(pooler.config)
    swapped = states[:, [1, 0, 2, 3, 4, 5]]
    assert (pooler(states) - pooler(swapped)).abs().max() > 1e-3
    with torch.no_grad():
        pooler.layer_matrix.zero_()
    torch.testing.assert_close(pooler(states), pooler(swapped), rtol=0, atol=1e-6)


def test_where_the_layer_matrix_is_added_by_hand():
    """H = (3, 1): LN_h gives (1, -1). E = (0, 4): LN_h(H + E) = LN_h(3, 5) = (-1, 1); LN_h(H) + E = (1, 3)."""
    for place, expected in (("before-norm", [-1.0, 1.0]), ("after-norm", [1.0, 3.0])):
        pooler = CrossAttentionPooler(PoolerConfig(2, 1, 1, 1, layers=1, layer_matrix_added=place))
        with torch.no_grad():
            pooler.layer_matrix.copy_(torch.tensor([[0.0, 4.0]]))
            pooler.to_kv.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))  # the key is the first entry
        states = torch.tensor([[[3.0, 1.0]]])
        torch.testing.assert_close(pooler.normed(states), torch.tensor([[expected]]), rtol=0, atol=1e-4)
        torch.testing.assert_close(pooler.normed(states, False), torch.tensor([[[1.0, -1.0]]]), rtol=0, atol=1e-4)
        keys, values = pooler.keys_values(states)
        assert [keys.item(), values.item()] == pytest.approx(expected, abs=1e-4)


def like_a_language_model(layers: int = 30, texts: int = 16) -> Tensor:
    """States [texts, L, d] of lengths from 15 to 36,000 over the layers, each layer around a place of its own."""
    generator = torch.Generator().manual_seed(3)
    common = torch.randn(1, layers, WIDTH, generator=generator)
    states = torch.nn.functional.normalize(
        common + 0.5 * torch.randn(texts, layers, WIDTH, generator=generator), dim=-1
    )
    return states * torch.logspace(math.log10(15), math.log10(36_000), layers)[:, None]


def without(pooler: CrossAttentionPooler, states: Tensor) -> Tensor:
    """The vectors with E = 0."""
    keys, values = pooler.keys_values(states, with_matrix=False)
    return pooler.head(pooler.mix(pooler.attention(keys, None), values))


def test_on_a_language_model_the_layer_matrix_matters_after_the_norm_alone():
    """Rows of .4, as trainings left them, are hardly seen in states of 15 to 36,000; after the norm E's start is."""
    states, moved, gradients = like_a_language_model(), {}, {}
    for place in ("before-norm", "after-norm"):
        torch.manual_seed(0)
        pooler = CrossAttentionPooler(PoolerConfig(WIDTH, 4, 2, 12, layers=30, layer_matrix_added=place))
        pooler.init_near_mean()
        if place == "before-norm":
            with torch.no_grad():
                pooler.layer_matrix.mul_(0.4 / pooler.layer_matrix.norm(dim=1, keepdim=True))
        vectors = pooler(states)
        vectors[:, 0].sum().backward()
        gradients[place] = float(pooler.layer_matrix.grad[10:].norm())
        moved[place] = float(1 - (vectors * without(pooler, states)).sum(-1).mean().detach())
        zeroed = CrossAttentionPooler(pooler.config)
        zeroed.load_state_dict({**pooler.state_dict(), "layer_matrix": torch.zeros(30, WIDTH)})
        torch.testing.assert_close(without(pooler, states), zeroed(states), rtol=0, atol=1e-6)
    assert moved["before-norm"] < 3e-5
    assert moved["after-norm"] > 1e-3
    assert gradients["after-norm"] > 30 * gradients["before-norm"] > 0


@pytest.mark.parametrize("place", ["before-norm", "after-norm"])
@pytest.mark.parametrize("scale", ["unit", "language model"])
def test_near_last_puts_nine_tenths_on_the_last_layer(place, scale):
    torch.manual_seed(0)
    width, layers = 96, 30
    common = torch.randn(layers, width)
    states = torch.nn.functional.normalize(common + torch.randn(40, layers, width) * 0.3, dim=-1)
    if scale == "language model":
        states = states * torch.logspace(math.log10(15), math.log10(36_000), layers)[:, None]
    pooler = CrossAttentionPooler(PoolerConfig(width, 8, 3, 32, layers=layers, layer_matrix_added=place))
    pooler.init_near_mean(sample=states[:6])
    _, weights = pooler(states[6:], return_weights=True)
    heads = weights.detach().mean((0, 2))  # [heads, L], of texts that the start has not seen
    assert heads[:, -1].tolist() == pytest.approx([0.9] * 3, abs=0.03)
    assert heads[:, :-1].max() < 0.03
    _, weights = pooler(states[:6], return_weights=True)
    assert weights.detach().mean((0, 2))[:, -1].tolist() == pytest.approx([0.9] * 3, abs=1e-3)


@pytest.mark.parametrize("place", ["before-norm", "after-norm"])
def test_near_mean_starts_near_the_mean_of_the_normalized_layers(place):
    torch.manual_seed(0)
    states = like_a_language_model()
    pooler = CrossAttentionPooler(PoolerConfig(WIDTH, 4, 2, 12, layers=30, layer_matrix_added=place))
    pooler.init_near_mean()
    mean = torch.nn.functional.layer_norm(states, (WIDTH,)).mean(1)
    assert torch.nn.functional.cosine_similarity(pooler(states), mean, dim=-1).min() > 0.95
    if place == "after-norm":
        torch.testing.assert_close(pooler.layer_matrix.mean(0), torch.zeros(WIDTH), rtol=0, atol=1e-6)


def test_the_papers_start_is_that_of_its_code():
    """`latents = randn(...)` and `nn.Embedding(layers, dim)`, N(0, 1) too; all else is left as PyTorch starts it."""
    torch.manual_seed(1)
    pooler = CrossAttentionPooler(PoolerConfig(64, latents=64, heads=2, head_dim=32, layers=30))
    rest = {n: p.clone() for n, p in pooler.named_parameters() if n not in ("latents", "layer_matrix")}
    pooler.init_as_paper()
    for matrix in (pooler.latents, pooler.layer_matrix):
        assert matrix.std().item() == pytest.approx(1, abs=0.05)
        assert matrix.mean().item() == pytest.approx(0, abs=0.05)
    assert all(torch.equal(p, rest[n]) for n, p in pooler.named_parameters() if n in rest)
    bound = 64**-0.5  # nn.Linear draws evenly up to the root of its inputs
    assert bound * 0.98 < pooler.to_kv.weight.abs().max().item() <= bound


def test_a_record_from_before_the_choice_means_the_papers_form():
    """Same vectors, bit by bit, and the same key in caches and recorded scores."""
    old = {"width": WIDTH, "latents": 5, "heads": 4, "head_dim": 6, "layers": 6}
    config = PoolerConfig(**old)
    assert config == SIZES["multi layer"]
    assert config.layer_matrix_added == "before-norm"
    assert config.identity() == json.dumps(old)
    after = replace(config, layer_matrix_added="after-norm")
    assert after.identity() != config.identity()
    assert PoolerConfig(**json.loads(json.dumps(asdict(after)))) == after
    pooler = random_pooler(config)
    states, _ = inputs(config)
    assert torch.equal(pooler.normed(states), pooler.norm_states(states + pooler.layer_matrix))


def test_an_unknown_place_of_the_layer_matrix_is_refused():
    with pytest.raises(InputError, match="layer_matrix_added = 'inside' is none of: before-norm, after-norm"):
        PoolerConfig(8, 1, 1, 8, 3, "inside")


def test_half_precision_states_give_float32_unit_vectors():
    for pooler in POOLERS.values():
        states, mask = inputs(SIZES["last layer"])
        embedding = pooler(states.bfloat16(), mask)
        assert embedding.dtype == torch.float32
        torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(4), rtol=0, atol=1e-6)
        assert (embedding * pooler(states, mask)).sum(-1).min() > 0.999


def test_a_text_without_any_state_is_refused():
    pooler = random_pooler(SIZES["last layer"])
    states, mask = inputs(pooler.config)
    mask[1] = 0
    with pytest.raises(ValueError, match="no state to read"):
        pooler(states, mask)


def test_a_wrong_number_of_layers_is_refused():
    pooler = random_pooler(SIZES["multi layer"])
    with pytest.raises(ValueError, match="5 layer states for a layer matrix of 6 rows"):
        pooler(torch.randn(1, 5, WIDTH))


# ---------------------------------------------------------------------------------------------- sizes and building


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_has_its_pooler(name):
    chosen = design(name)
    pooler = build_pooler(chosen, 128, 5)
    assert isinstance(pooler, CrossAttentionPooler) is chosen.trainable_pooler
    if chosen.trainable_pooler:
        assert pooler.config == PoolerConfig(128, 32, 2, 64, layers=5 if chosen.pooling == "multi-layer" else 0)
        assert (pooler.layer_matrix is not None) == (chosen.pooling == "multi-layer")
    else:
        assert not list(pooler.parameters())


def test_a_config_for_another_backbone_is_refused():
    with pytest.raises(InputError, match="width 32 and 3 layers, this backbone needs width 64 and 3 layers"):
        build_pooler(design("multi-layer-causal"), 64, 3, PoolerConfig(32, 4, 2, 16, 3))
    with pytest.raises(InputError, match="6 layers, this backbone needs width 32 and 0 layers"):
        build_pooler(design("last-layer-causal"), 32, 6, PoolerConfig(32, 4, 2, 16, 6))


@pytest.mark.parametrize(
    "sizes", [(0, 1, 1, 1, 0), (8, -1, 1, 1, 0), (8, 1, 1.5, 1, 0), (8, 1, 1, "4", 0), (8, 1, 1, 1, -1)]
)
def test_unfit_sizes_are_refused(sizes):
    with pytest.raises(InputError, match="pooler size"):
        PoolerConfig(*sizes)


# ------------------------------------------------------------------------------------ files of the paper's release


def paper_tensors(config: PoolerConfig) -> dict[str, Tensor]:
    """A pooler file as the paper's authors release it, written out name by name."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int, around: float = 0.0) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.2 + around

    d, inner = config.width, config.heads * config.head_dim
    tensors = {
        "latents": draw(config.latents, d),
        "cross_attend_blocks.0.fn.to_q.weight": draw(inner, d),
        "cross_attend_blocks.0.fn.to_kv.weight": draw(2 * inner, d),
        "cross_attend_blocks.0.fn.to_out.weight": draw(d, inner),
        "cross_attend_blocks.0.norm.weight": draw(d, around=1),
        "cross_attend_blocks.0.norm.bias": draw(d),
        "cross_attend_blocks.0.norm_context.weight": draw(d, around=1),
        "cross_attend_blocks.0.norm_context.bias": draw(d),
        "cross_attend_blocks.1.fn.net.0.weight": draw(8 * d, d),
        "cross_attend_blocks.1.fn.net.0.bias": draw(8 * d),
        "cross_attend_blocks.1.fn.net.2.weight": draw(d, 4 * d),
        "cross_attend_blocks.1.fn.net.2.bias": draw(d),
        "cross_attend_blocks.1.norm.weight": draw(d, around=1),
        "cross_attend_blocks.1.norm.bias": draw(d),
    }
    if config.layers:
        tensors["pos_emb.weight"] = draw(config.layers, d)
    return tensors


@pytest.mark.parametrize("size", ["last layer", "multi layer"])
def test_a_released_pooler_file_loads(size):
    config = SIZES[size]
    tensors = paper_tensors(config)
    loaded = from_paper_state_dict(tensors, heads=config.heads)
    assert loaded.config == config
    ours = CrossAttentionPooler(config)
    with torch.no_grad():
        ours.latents.copy_(tensors["latents"])
        if config.layers:
            ours.layer_matrix.copy_(tensors["pos_emb.weight"])
        ours.norm_states.weight.copy_(tensors["cross_attend_blocks.0.norm.weight"])
        ours.norm_states.bias.copy_(tensors["cross_attend_blocks.0.norm.bias"])
        ours.norm_latents.weight.copy_(tensors["cross_attend_blocks.0.norm_context.weight"])
        ours.norm_latents.bias.copy_(tensors["cross_attend_blocks.0.norm_context.bias"])
        ours.to_q.weight.copy_(tensors["cross_attend_blocks.0.fn.to_q.weight"])
        ours.to_kv.weight.copy_(tensors["cross_attend_blocks.0.fn.to_kv.weight"])
        ours.to_out.weight.copy_(tensors["cross_attend_blocks.0.fn.to_out.weight"])
        ours.norm_mlp.weight.copy_(tensors["cross_attend_blocks.1.norm.weight"])
        ours.norm_mlp.bias.copy_(tensors["cross_attend_blocks.1.norm.bias"])
        ours.mlp_in.weight.copy_(tensors["cross_attend_blocks.1.fn.net.0.weight"])
        ours.mlp_in.bias.copy_(tensors["cross_attend_blocks.1.fn.net.0.bias"])
        ours.mlp_out.weight.copy_(tensors["cross_attend_blocks.1.fn.net.2.weight"])
        ours.mlp_out.bias.copy_(tensors["cross_attend_blocks.1.fn.net.2.bias"])
    states, mask = inputs(config)
    assert torch.equal(loaded(states, mask), ours(states, mask))
    torch.testing.assert_close(loaded(states, mask), plain(ours, states, mask)[0], rtol=0, atol=1e-6)


def test_the_number_of_heads_changes_what_a_file_means():
    tensors = paper_tensors(SIZES["last layer"])
    states, mask = inputs(SIZES["last layer"])
    four, two = (from_paper_state_dict(tensors, heads)(states, mask) for heads in (4, 2))
    assert (four - two).abs().max() > 1e-3


@pytest.mark.parametrize("name", [n for n in paper_tensors(SIZES["multi layer"]) if n != "pos_emb.weight"])
def test_a_missing_tensor_is_named(name):
    tensors = paper_tensors(SIZES["multi layer"])
    del tensors[name]
    with pytest.raises(InputError, match=rf"(lacks|needs the tensors) .*{re.escape(name)}"):
        from_paper_state_dict(tensors, heads=4)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cross_attend_blocks.2.norm.weight", "'cross_attend_blocks.2.norm.weight' does not belong"),
        ("latents_ema", "'latents_ema' does not belong"),
        ("cross_attend_blocks.0.fn.to_q.bias", "does not fit together"),
    ],
)
def test_an_unknown_tensor_is_refused(name, sentence):
    with pytest.raises(InputError, match=sentence):
        from_paper_state_dict({**paper_tensors(SIZES["last layer"]), name: torch.zeros(3)}, heads=4)


@pytest.mark.parametrize("heads", [0, -1, 5, 48])
def test_unfit_heads_are_refused(heads):
    with pytest.raises(InputError, match=f"{heads} heads do not divide the 24 rows of W_q"):
        from_paper_state_dict(paper_tensors(SIZES["last layer"]), heads)


@pytest.mark.parametrize("name", ["to_q", "to_kv", "to_out", "latents"])
def test_tensors_that_do_not_fit_together_are_refused(name):
    tensors = paper_tensors(SIZES["last layer"])
    key = "latents" if name == "latents" else f"cross_attend_blocks.0.fn.{name}.weight"
    tensors[key] = tensors[key][:, :-1]
    with pytest.raises(InputError, match="does not fit together"):
        from_paper_state_dict(tensors, heads=4)


@pytest.mark.parametrize("key", ["latents", "cross_attend_blocks.0.fn.to_q.weight", "pos_emb.weight"])
def test_tensors_of_the_wrong_rank_are_refused(key):
    tensors = paper_tensors(SIZES["multi layer"])
    for unfit in (tensors[key].flatten(), tensors[key].sum()):
        with pytest.raises(InputError, match=f"'{key}' of the pooler file is no matrix"):
            from_paper_state_dict({**tensors, key: unfit}, heads=4)
