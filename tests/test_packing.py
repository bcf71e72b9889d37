"""Texts one after another in one row: the same states and gradients as padded, on every architecture that can."""

from __future__ import annotations

import threading

import pytest
import tiny
import torch

import explorer.packing
from explorer.backbone import Backbone
from explorer.designs import DESIGNS, SMOLLM2, design
from explorer.encoder import PooledEncoder, pack
from explorer.errors import InputError
from explorer.packing import Layout, packed
from explorer.training_config import TrainingConfig
from explorer.training_model import build

PADDED = {"gemma2", "mpnet", "bloom", "falcon", "deberta", "deberta-v2", "lfm2", "qwen3_next"}
"""Architectures that take the padded path: they cap or bias scores, attend otherwise, or have other layers."""
ALL = [(name, kernel) for name, kernels in tiny.KERNELS.items() for kernel in kernels]
READS = ("tokens", "last-token", "layer-eos", "layer-means")


def padded(backbone: Backbone) -> None:
    """Forbid packing from now on."""
    backbone.reader.packs = lambda attention: False  # type: ignore[method-assign]


def lengths(backbone: Backbone) -> list[int]:
    """Lengths of texts that no local attention of the backbone cuts."""
    return [1, 2, 1, 2] if backbone.reader._windows() else [13, 20, 1, 9, 13]


# ------------------------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_layout_puts_everything_back(side):
    ids, mask = tiny.batch([3, 7, 1, 7], 9, side)
    layout = Layout.of(mask)
    assert layout.runs == [(2, 7), (1, 3), (1, 1)]
    row = layout.flatten(ids)
    assert row.shape == (1, 18)
    assert row[0, :7].tolist() == ids[1][mask[1].bool()].tolist()  # longest first, in the order of the batch
    assert torch.equal(layout.unflatten(row[..., None])[..., 0], ids * mask)
    for text, end in enumerate(layout.ends.tolist()):
        assert row[0, end] == ids[text][mask[text].bool()][-1]


def test_means_count_what_they_are_told_to():
    _, mask = tiny.batch([3, 5], 5)
    counted = mask.clone()
    counted[:, 0] = 0
    row = torch.randn(8, 4)
    means = Layout.of(mask).mean_weights(counted) @ row
    assert torch.allclose(means[0], row[6:8].mean(0))
    assert torch.allclose(means[1], row[1:5].mean(0))


@pytest.mark.parametrize(
    ("budget", "without", "sizes"), [(12, True, [1, 1, 2]), (12, False, [1, 2, 1]), (1, False, [1] * 4)]
)
def test_batches_count_padding_only_where_there_is_any(budget, without, sizes):
    ids = [[0] * n for n in (10, 8, 4, 3)]
    found, at = [], 0
    while at < 4:
        batch = pack(range(4), at, ids, budget, padded=without)
        found.append(len(batch))
        at += len(batch)
    assert found == sizes


# ------------------------------------------------------------------------------------------------------------- states


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize(("architecture", "kernel"), ALL)
def test_states_are_those_of_a_padded_batch(architecture, kernel, attention):
    backbone = tiny.backbone(architecture, kernel)
    try:
        packs = backbone.packs(attention)
    except InputError:
        pytest.skip(f"{architecture} has no {attention} attention")
    assert packs == (architecture not in PADDED)
    for side in ("right", "left"):
        ids, mask = tiny.batch(lengths(backbone), 24, side)
        ids = ids.clamp(min=2)  # no padding id inside a text
        counted = mask * (mask.cumsum(1) != 2)  # without the second token
        plain = tiny.backbone(architecture, kernel)
        padded(plain)
        for read in READS:
            with torch.inference_mode():
                ours, seen = backbone.states(ids, mask, attention=attention, read=read, counted=counted)
                theirs, expected = plain.states(ids, mask, attention=attention, read=read, counted=counted)
            assert torch.equal(seen, expected)
            if read == "tokens":
                ours, theirs = ours[mask.bool()], theirs[mask.bool()]
            assert (ours - theirs).abs().max() <= 3e-6 * theirs.abs().max()


@pytest.mark.parametrize("architecture", ["mistral", "gemma3_text", "modernbert"])
def test_a_text_longer_than_a_window_is_computed_by_the_model_itself(architecture, monkeypatch):
    backbone = tiny.backbone(architecture)
    assert backbone.packs("causal")
    monkeypatch.setattr(explorer.packing, "packed_attention", None)  # what uses it from here on fails
    monkeypatch.setattr("explorer.states.packed", None)
    ids, mask = tiny.batch([2, tiny.WINDOW + 3])
    with torch.inference_mode():
        backbone.states(ids, mask, attention="causal", read="tokens")


def test_batches_without_padding_are_left_as_they_are():
    _, mask = tiny.batch([4, 4, 4])
    assert not Layout.of(mask).saves


def test_attention_across_texts_is_noticed(monkeypatch):
    """A kernel that lets texts see each other: the trial finds it, and the padded path is taken."""
    monkeypatch.setattr(explorer.packing, "_by_text", lambda heads, run: heads[None])
    assert not tiny.backbone("llama").packs("causal")


def test_positions_across_texts_are_noticed(monkeypatch):
    """Positions that do not begin anew are noticed too, where they matter: rotary ones are relative."""
    for architecture in ("bert", "gpt2"):
        backbone = tiny.backbone(architecture)
        arguments = backbone.reader._packed_arguments

        def counting_on(layout, ids, mask, arguments=arguments):
            made = arguments(layout, ids, mask)
            return made | {"position_ids": torch.arange(made["input_ids"].shape[1])[None]}

        monkeypatch.setattr(backbone.reader, "_packed_arguments", counting_on)
        assert not backbone.packs("bidirectional")


def test_two_backbones_in_two_threads():
    backbones = [tiny.backbone("llama", seed=seed) for seed in (0, 1)]
    batches = [tiny.batch([3, 20, 7]), tiny.batch([9, 2, 5, 5], seed=1)]
    expected = [
        b.states(*batch, attention="causal", read="tokens")[0] for b, batch in zip(backbones, batches, strict=True)
    ]
    wrong = []

    def work(i: int) -> None:
        for _ in range(30):
            found = backbones[i].states(*batches[i], attention="causal", read="tokens")[0]
            if not torch.allclose(found, expected[i], atol=1e-5):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_model_has_its_own_attention_back():
    backbone = tiny.backbone("qwen3", "eager")
    ids, mask = tiny.batch([3, 8])
    backbone.states(ids, mask, attention="causal", read="tokens")
    assert backbone.model.config._attn_implementation == "eager"
    with pytest.raises(RuntimeError, match="in between"), packed(backbone.model, Layout.of(mask), causal=True):
        raise RuntimeError("in between")
    assert backbone.model.config._attn_implementation == "eager"


# ----------------------------------------------------------------------------------------------------------- training


def gradients(architecture: str, name: str, without_padding: bool, checkpointing: bool = False):
    """Vectors and gradients of a weighted sum of them, for texts of many lengths."""
    config = TrainingConfig(
        name, ("none",), dtype="float32", lora_rank=2, lora_dropout=0.0, gradient_checkpointing=checkpointing,
        tokens="without-first" if design(name).means else "all",
    )  # fmt: skip
    backbone = tiny.backbone(architecture, tiny.KERNELS[architecture][0])
    module = build(config, backbone)
    torch.manual_seed(1)
    for parameter in module.trained().values():  # adapters start at zero: nothing would flow into half of them
        torch.nn.init.normal_(parameter, std=0.1)
    module.train()
    if not without_padding:
        padded(backbone)
    texts = ["One text.", "Another one that is longer", "x", "Of the length"]
    ids, mask = backbone.pad(backbone.tokenize([t[:8] for t in texts] if backbone.reader._windows() else texts))
    vectors = module({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    (vectors * torch.arange(vectors.numel()).view_as(vectors).sin()).sum().backward()
    return vectors, {n: p.grad for n, p in module.trained().items()}, backbone


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "bert", "mpnet"])
def test_gradients_are_those_of_a_padded_batch(architecture, name):
    vectors, found, _ = gradients(architecture, name, without_padding=True)
    expected_vectors, expected, _ = gradients(architecture, name, without_padding=False)
    assert torch.allclose(vectors, expected_vectors, atol=1e-5)
    largest = max(float(g.abs().max()) for g in expected.values() if g is not None)
    for parameter, gradient in expected.items():
        if gradient is None:
            assert found[parameter] is None
        else:
            assert torch.allclose(found[parameter], gradient, rtol=1e-3, atol=1e-5 * largest), parameter


def test_checkpointing_takes_the_padded_path():
    """Layers are run again when the layout of the row is gone."""
    vectors, found, backbone = gradients("llama", "mean-causal", without_padding=True, checkpointing=True)
    assert not backbone.packs("causal")
    expected_vectors, expected, _ = gradients("llama", "mean-causal", without_padding=False)
    assert torch.allclose(vectors, expected_vectors, atol=1e-5)
    assert all(torch.allclose(found[n], g, atol=1e-5) for n, g in expected.items() if g is not None)


# ------------------------------------------------------------------------------------------------------ the real thing


@pytest.mark.parametrize("name", ["mean-bidirectional", "eos-causal"])
def test_minilm_gives_the_same_vectors(minilm, name):
    texts = ["Short.", "A text of some more words, with a comma.", "delete a folder and everything in it " * 8]
    encoder = PooledEncoder.untrained(minilm, design(name))
    assert minilm.packs(design(name).attention)
    alone = [encoder.encode([text])[0] for text in texts]  # one text at a time has no padding
    assert abs(encoder.encode(texts) - alone).max() < 2e-6


@pytest.fixture(scope="module")
def language_model(smollm2: None) -> Backbone:
    return Backbone.load(SMOLLM2, device="cpu", dtype="bfloat16")


def test_smollm2_without_padding_in_half_precision(language_model):
    texts = ["Short.", "A text of some more words, with a comma.", "delete a folder and everything in it " * 8]
    encoder = PooledEncoder.untrained(language_model, design("mean-causal"))
    assert language_model.packs("causal")
    assert language_model.packs("bidirectional")
    exact = encoder.embed(texts, exact=True)
    assert ((encoder.embed(texts, exact=False) * exact).sum(1) > 0.999).all()
