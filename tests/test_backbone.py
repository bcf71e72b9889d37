"""What every architecture must prove: attention obeyed, padding without effect, right states, exact adapters."""

from __future__ import annotations

import copy
import json
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny
import torch

from explorer.backbone import Backbone, fingerprint, pick_device, pick_dtype, prepare_tokenizer
from explorer.designs import MINILM
from explorer.errors import InputError
from explorer.hub import resolve

READS = ("tokens", "layer-eos", "layer-means")
LENGTHS = [13, 20, 2, 9]
ROBERTAS = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Their positions begin at 2."""


@pytest.fixture(scope="module", params=tiny.CASES, ids=lambda case: "-".join(case))
def backbone(request) -> Backbone:
    return tiny.backbone(*request.param)


def states(backbone: Backbone, batch, attention, read="tokens", adapter=None) -> torch.Tensor:
    with torch.inference_mode():
        return backbone.states(*batch, attention=attention, read=read, adapter=adapter)[0].float()


# ------------------------------------------------------------------------------------------------------- attention


def test_who_may_see_whom(backbone):
    """A change of the last token leaves all earlier states bit-identical (causal) or reaches them (bidirectional)."""
    ids, mask = tiny.batch([20])
    changed = ids.clone()
    changed[0, -1] = ids[0, -1] % 250 + 1
    both = torch.cat([ids, changed]), torch.cat([mask, mask])
    before, after = states(backbone, both, "causal")
    assert torch.equal(before[:-1], after[:-1])
    assert (before[-1] - after[-1]).abs().max() > 1e-2
    before, after = states(backbone, both, "bidirectional")
    assert (before[0] - after[0]).abs().max() > 1e-4
    assert (before != after).any(-1).all()


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_attention_is_that_of_a_mask_drawn_by_hand(backbone, attention):
    """Every layer's states, from the hooks, against hidden_states of the bare model under an explicit 4-D mask."""
    ids, mask = tiny.batch(LENGTHS)
    hidden = reference(backbone, ids, mask, attention)
    last = states(backbone, (ids, mask), attention)
    torch.testing.assert_close(last[mask.bool()], hidden[-1][mask.bool()], rtol=0, atol=2e-5)
    end = torch.tensor(LENGTHS) - 1
    by_end = torch.stack([h[torch.arange(4), end] for h in hidden], dim=1)
    by_mean = torch.stack(
        [torch.stack([h[i, :n].mean(0) for i, n in enumerate(LENGTHS)]) for h in hidden], dim=1
    )  # [B, L, d]
    torch.testing.assert_close(states(backbone, (ids, mask), attention, "layer-eos"), by_end, rtol=0, atol=2e-5)
    torch.testing.assert_close(states(backbone, (ids, mask), attention, "layer-means"), by_mean, rtol=0, atol=2e-5)
    other = reference(backbone, ids, mask, "causal" if attention == "bidirectional" else "bidirectional")
    assert (hidden[-1] - other[-1])[mask.bool()].abs().max() > 1e-2


def reference(backbone: Backbone, ids, mask, attention) -> list[torch.Tensor]:
    """hidden_states 1..L of a copy of the model; who sees whom is spelled out by position, window and padding."""
    model = copy.deepcopy(backbone.model)
    config = model.config
    T = ids.shape[1]
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    seen = (key <= query) if attention == "causal" else torch.ones(T, T, dtype=torch.bool)
    allowed = {"full_attention": seen}
    if config.model_type == "modernbert":
        allowed["sliding_attention"] = seen & ((query - key).abs() <= config.local_attention // 2)
    elif window := getattr(config, "sliding_window", None):  # exclusive: the token itself counts
        allowed["sliding_attention"] = seen & ((query - key).abs() <= window - 1)
    masks = {}
    for kind, table in allowed.items():
        table = table[None, None] & mask.bool()[:, None, None, :]
        # A row of padding may see nothing, which makes nan; nobody reads it.
        table = table | (~mask.bool())[:, None, :, None]
        masks[kind] = table if config._attn_implementation == "sdpa" else torch.where(table, 0.0, -1e30)
    by_kind = getattr(config, "layer_types", None) is not None and len(masks) > 1
    given = masks if by_kind else masks.get("sliding_attention", masks["full_attention"])
    extra = {"use_cache": False} if backbone.decoder else {}
    with torch.inference_mode():
        positions = torch.arange(T)[None] + (2 if config.model_type in ROBERTAS else 0)
        found = model(ids, attention_mask=given, position_ids=positions, output_hidden_states=True, **extra)
    assert len(found.hidden_states) == backbone.layers + 1
    return [h.float() for h in found.hidden_states[1:]]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_padding_does_not_matter(backbone, attention, read):
    alone = [states(backbone, one(i), attention, read)[0] for i in range(4)]
    for side in ("left", "right"):
        ids, mask = tiny.batch(LENGTHS, 24, side)
        together = states(backbone, (ids, mask), attention, read)
        for i, text in enumerate(alone):
            real = together[i][mask[i].bool()] if read == "tokens" else together[i]
            torch.testing.assert_close(real, text, rtol=0, atol=2e-5)


def one(i: int):
    """The i-th text of the batch by itself, unpadded."""
    ids, mask = tiny.batch(LENGTHS)
    return ids[i : i + 1, : LENGTHS[i]], mask[i : i + 1, : LENGTHS[i]]


def test_position_and_mask_are_needed_for_that(backbone):
    """The test above can fail: padding that is taken for text changes every state."""
    ids, mask = tiny.batch(LENGTHS, 24, "left")
    right = states(backbone, (ids, mask), "bidirectional", "layer-means")
    wrong = states(backbone, (ids, torch.ones_like(mask)), "bidirectional", "layer-means")
    assert (right - wrong).abs().max() > 1e-2


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_an_architecture_that_ignores_the_request_is_refused(monkeypatch, architecture, kernel):
    backbone = tiny.backbone(architecture, kernel)
    honest = backbone.reader._forward
    monkeypatch.setattr(backbone.reader, "_forward", lambda ids, mask, attention: honest(ids, mask, "causal"))
    states(backbone, tiny.batch([5]), "causal")
    with pytest.raises(
        InputError, match=rf"tiny/{architecture}' \({architecture}\) does not obey bidirectional attention"
    ):
        states(backbone, tiny.batch([5]), "bidirectional")
    monkeypatch.setattr(backbone.reader, "_forward", lambda ids, mask, attention: honest(ids, mask, "bidirectional"))
    backbone._verified.clear()
    with pytest.raises(InputError, match="does not obey causal attention"):
        states(backbone, tiny.batch([5]), "causal")


# ---- the model's own forward, called with ids and a mask alone ------------------------------------------------------


@pytest.mark.parametrize("architecture", [*tiny.ARCHITECTURES, *tiny.ONE_ATTENTION, *tiny.HYBRIDS])
def test_states_are_those_that_the_model_computes_by_itself(architecture):
    """Parity of every family with its own forward, padded on the right as its users pad; then on the left."""
    for kernel in tiny.KERNELS[architecture]:
        backbone = tiny.backbone(architecture, kernel)
        ids, mask = padded(tiny.batch(LENGTHS, 24), backbone)
        with torch.inference_mode():
            own = backbone.model(ids, attention_mask=mask).last_hidden_state[mask.bool()]
        for side in ("right", "left"):
            batch = padded(tiny.batch(LENGTHS, 24, side), backbone)
            found = states(backbone, batch, backbone.reader.natural)[batch[1].bool()]
            torch.testing.assert_close(found, own, rtol=0, atol=1e-4 if architecture == "qwen3_next" else 2e-5)


def padded(batch, backbone):
    """Text without id 1, which is padding in RoBERTa-like models, and padding with the model's own id."""
    ids, mask = batch
    return torch.where(mask.bool(), ids.clamp(min=2), backbone.config.pad_token_id or 0), mask


@pytest.mark.parametrize(("architecture", "attention"), tiny.ONE_ATTENTION.items())
def test_an_architecture_that_runs_with_one_attention_is_refused_the_other(architecture, attention):
    backbone = tiny.backbone(architecture, "eager")
    other = "causal" if attention == "bidirectional" else "bidirectional"
    with pytest.raises(InputError, match=rf"tiny/{architecture}' \({architecture}\).* {other} attention"):
        states(backbone, tiny.batch([5]), other)
    assert states(backbone, tiny.batch([5]), attention).isfinite().all()


@pytest.mark.parametrize(("architecture", "layers"), tiny.HYBRIDS.items())
def test_layers_that_stay_causal_are_named(architecture, layers):
    """Their final states change with the last token, through the one layer that obeys: that proves nothing."""
    backbone = tiny.backbone(architecture, "eager")
    states(backbone, tiny.batch([5]), "causal")
    kind = backbone.config.layer_types[0]
    with pytest.raises(InputError, match=rf"layers {layers[0]}, {layers[1]} of .* stay causal .*\({kind}\)"):
        states(backbone, tiny.batch([5]), "bidirectional")


@pytest.mark.parametrize("architecture", ["llama", "bert", "gemma3_text"])
def test_one_planted_causal_layer_is_named(monkeypatch, architecture):
    backbone = tiny.backbone(architecture, "eager")
    block = backbone.reader.blocks[1]
    honest = block.forward

    def causal(hidden_states, attention_mask=None, **more):
        T = hidden_states.shape[1]
        later = torch.ones(T, T, dtype=torch.bool).triu(1)
        return honest(hidden_states, attention_mask=torch.zeros(1, 1, T, T).masked_fill(later, -1e30), **more)

    def positional(hidden_states, attention_mask=None, *_, **more):
        return causal(hidden_states, attention_mask, **more)

    monkeypatch.setattr(block, "forward", positional)
    with pytest.raises(InputError, match=r"layers 2 of .* stay causal"):
        states(backbone, tiny.batch([5]), "bidirectional")


def test_planted_nan_is_named_as_such():
    backbone = tiny.backbone("llama")
    with torch.no_grad():
        backbone.reader.blocks[1].mlp.down_proj.weight.fill_(float("nan"))
    for attention in ("causal", "bidirectional"):
        with pytest.raises(InputError, match=r"infinite or undefined numbers \(NaN\) from layer 2 on in float32$"):
            states(backbone, tiny.batch([5]), attention)


def test_positions_that_are_not_the_models_are_refused(monkeypatch):
    backbone = tiny.backbone("roberta")
    monkeypatch.setattr(backbone.reader, "position_offset", 0)
    with pytest.raises(InputError, match="positions of the backbone 'tiny/roberta'"):
        states(backbone, tiny.batch([5]), "bidirectional")


def test_hooks_are_gone_after_a_failure(monkeypatch):
    backbone = tiny.backbone("llama")
    states(backbone, tiny.batch([5]), "causal")
    monkeypatch.setattr(backbone.model.norm, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        states(backbone, tiny.batch([5]), "causal", "layer-means")
    assert not any(block._forward_hooks for block in backbone.reader.blocks)


def test_gradients_flow_when_enabled():
    backbone = tiny.backbone("bert")
    backbone.model.requires_grad_(True)
    found, mask = backbone.states(*tiny.batch([4, 6]), attention="bidirectional", read="layer-means")
    found[:, 0].sum().backward()
    assert mask.tolist() == [[1, 1, 1]] * 2
    assert backbone.reader.blocks[0].attention.self.query.weight.grad.abs().max() > 0


# -------------------------------------------------------------------------------------------------------- adapters


@pytest.fixture(params=["llama", "bert"])
def adapted(request, tmp_path) -> Backbone:
    """A backbone with the adapters "a" and "b"."""
    backbone = tiny.backbone(request.param)
    for seed, name in enumerate(("a", "b")):
        backbone.add_adapter(name, tiny.save_adapter(tmp_path / name, tiny.model(request.param), seed=seed + 1))
    return backbone


def test_adapters_are_exact(adapted):
    raw = tiny.backbone(adapted.config.model_type)
    batch = tiny.batch(LENGTHS)
    for attention in ("causal", "bidirectional"):
        plain = states(raw, batch, attention)
        a, b = (states(adapted, batch, attention, adapter=name) for name in ("a", "b"))
        assert torch.equal(states(adapted, batch, attention), plain)  # none active: the raw model
        assert min((a - b).abs().max(), (a - plain).abs().max(), (b - plain).abs().max()) > 1e-2
        assert torch.equal(states(adapted, batch, attention, adapter="a"), a)
    adapted.remove_adapter("a")
    assert torch.equal(states(adapted, batch, attention, adapter="b"), b)
    with pytest.raises(InputError, match="has no adapter 'a'"):
        states(adapted, batch, attention, adapter="a")
    adapted.remove_adapter("b")
    assert torch.equal(states(adapted, batch, attention), plain)
    assert [n for n, _ in adapted.model.named_parameters()] == [n for n, _ in raw.model.named_parameters()]


def test_an_adapter_is_what_peft_makes_of_it(tmp_path):
    from peft import PeftModel

    folder = tiny.save_adapter(tmp_path / "a", tiny.model("llama"), seed=1)
    backbone = tiny.backbone("llama")
    backbone.add_adapter("a", folder)
    merged = PeftModel.from_pretrained(tiny.model("llama"), folder).merge_and_unload()
    ids, mask = tiny.batch([9])
    with torch.inference_mode():
        expected = merged(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(states(backbone, (ids, mask), "causal", adapter="a"), expected, rtol=0, atol=2e-5)


def test_an_adapter_survives_saving(adapted, tmp_path):
    batch = tiny.batch(LENGTHS)
    expected = states(adapted, batch, "bidirectional", adapter="b")
    adapted.save_adapter("b", tmp_path / "saved")
    assert sorted(f.name for f in (tmp_path / "saved").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (tmp_path / "saved" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == adapted.name
    assert str(tmp_path) not in text
    adapted.add_adapter("c", tmp_path / "saved")
    assert torch.equal(states(adapted, batch, "bidirectional", adapter="c"), expected)


def test_memory_counts_weights_once_and_every_adapter(adapted):
    raw = sum(t.numel() * 4 for t in tiny.model(adapted.config.model_type).parameters())
    if adapted.config.model_type == "bert":
        raw -= 4 * (32 * 32 + 32)  # its unused pooler
    memory = adapted.memory()
    own = {n: sum(p.numel() * 4 for k, p in adapted.model.named_parameters() if "lora" in k) / 2 for n in "ab"}
    assert memory.adapters == own
    assert memory.weights == pytest.approx(raw, abs=4096)  # position ids and rotary frequencies are buffers
    adapted.remove_adapter("a")
    assert adapted.memory().adapters == {"b": own["b"]}
    assert adapted.memory().weights == memory.weights


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
@pytest.mark.parametrize(
    "damage", ["other width", "other names", "half the tensors", "no config", "no tensors", "not safetensors"]
)
def test_an_unfit_adapter_is_refused_and_leaves_no_trace(tmp_path, damage, first):
    from safetensors.torch import load_file, save_file

    backbone, batch = tiny.backbone("llama"), tiny.batch(LENGTHS)
    plain = states(backbone, batch, "causal")
    if not first:
        backbone.add_adapter("good", tiny.save_adapter(tmp_path / "good", tiny.model("llama"), seed=3))
        good = states(backbone, batch, "causal", adapter="good")
    model = tiny.model("llama")
    if damage == "other width":
        from transformers import AutoModel

        config = copy.deepcopy(model.config)
        config.hidden_size = 64
        model = AutoModel.from_config(config)
    folder = tiny.save_adapter(tmp_path / "bad", model, seed=4)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    if damage == "other names":  # trained on the model with a head: everything is one level deeper
        save_file({k.replace("base_model.model.", "base_model.model.model."): v for k, v in tensors.items()}, file)
    elif damage == "half the tensors":
        save_file({k: v for k, v in tensors.items() if "layers.0" in k}, file)
    elif damage == "no config":
        (folder / "adapter_config.json").unlink()
    elif damage == "no tensors":
        file.unlink()
    elif damage == "not safetensors":
        file.write_bytes(b"\x80pickled")
    with pytest.raises(InputError, match=r"'bad' (does not fit the backbone 'tiny/llama'|holds no adapter)"):
        backbone.add_adapter("bad", folder)
    assert torch.equal(states(backbone, batch, "causal"), plain)
    if not first:
        assert torch.equal(states(backbone, batch, "causal", adapter="good"), good)
        assert list(backbone.memory().adapters) == ["good"]
    else:
        assert not [n for n, _ in backbone.model.named_parameters() if "lora" in n]
        backbone.add_adapter("bad", tiny.save_adapter(tmp_path / "again", tiny.model("llama"), seed=5))


def test_an_adapter_name_is_taken_once(adapted, tmp_path):
    with pytest.raises(InputError, match="'a' is loaded already"):
        adapted.add_adapter("a", tmp_path / "a")
    adapted.save_adapter("a", tmp_path / "saved")  # "a" still works


def test_switching_happens_only_when_needed(adapted, monkeypatch):
    batch = tiny.batch([4])
    states(adapted, batch, "causal", adapter="a")
    switched = []
    real = adapted._peft.set_adapter
    monkeypatch.setattr(adapted._peft, "set_adapter", lambda *a, **k: switched.append(a) or real(*a, **k))
    for _ in range(3):
        states(adapted, batch, "bidirectional", adapter="a")
    assert switched == []
    states(adapted, batch, "causal", adapter="b")
    assert len(switched) == 1


# --------------------------------------------------------------------------------------------------------- threads


def test_eight_threads_asking_for_different_variants_get_what_one_gets(adapted):
    """Attention mode and adapter are state of one model: without the lock this gives wrong vectors and no error."""
    batches = [tiny.batch([5, 9, 12], seed=seed) for seed in range(2)]
    wanted = [
        (batch, attention, read, adapter)
        for batch in range(2)
        for attention in ("causal", "bidirectional")
        for read in ("tokens", "layer-means")
        for adapter in (None, "a", "b")
    ]
    expected = {w: states(adapted, batches[w[0]], *w[1:]) for w in wanted}
    assert all(
        (expected[0, "causal", "tokens", x] - expected[0, "bidirectional", "tokens", y]).abs().max() > 1e-2
        for x in (None, "a", "b")
        for y in (None, "a", "b")
    )
    start = threading.Barrier(8)

    def ask(thread: int) -> list[str]:
        torch.set_num_threads(1)
        start.wait()
        order = wanted[3 * thread :] + wanted[: 3 * thread]
        return [str(w) for w in order * 2 if not close(states(adapted, batches[w[0]], *w[1:]), expected[w])]

    def close(a, b) -> bool:
        return torch.allclose(a, b, rtol=0, atol=1e-6)

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(8) as pool:
            wrong = [w for found in pool.map(ask, range(8)) for w in found]
    finally:
        torch.set_num_threads(threads)
    assert wrong == []


# ------------------------------------------------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("kind", [k for k in tiny.TOKENIZERS if k != "endless"])
def test_every_text_ends_with_the_end_token(kind):
    backbone = Backbone(tiny.model("llama"), tiny.tokenizer(kind), "tiny")
    tokenizer = backbone.tokenizer
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    begin = {"llama": 256, "closed": 256, "bert": 256}.get(kind)
    texts = ["", "x", "a longer text", "very long " * 50, " ", f"{tokenizer.eos_token or tokenizer.sep_token} inside"]
    rows = backbone.tokenize(texts, 12)
    for text, row in zip(texts, rows, strict=True):
        assert row[-1] == end, text
        assert row.count(end) == 1, text
        assert len(row) <= 12
        if begin is not None:
            assert row[0] == begin, text
            assert row.count(begin) == 1, text
    room = 12 - (2 if begin is not None else 1)
    body = rows[3][12 - 1 - room : -1]
    assert tokenizer.decode(body) == ("very long " * 50)[:room]


@pytest.mark.parametrize("kind", [k for k in tiny.TOKENIZERS if k != "endless"])
def test_special_tokens_spelled_out_in_a_text_stay_text(kind):
    tokenizer = tiny.tokenizer(kind)
    backbone = Backbone(tiny.model("llama"), tokenizer, "tiny")
    for token in {t for t in tokenizer.all_special_tokens if t}:
        bare, spelled = backbone.tokenize(["", f"a {token} b"])
        inside = spelled[len(bare) - 1 : -1]
        assert not set(inside) & set(tokenizer.all_special_ids), token
        assert tokenizer.decode(inside) == f"a {token} b"


def test_minilm_keeps_sep_out_of_text(minilm):
    plain, literal = minilm.tokenize(["a b", "a [SEP] b"])
    assert (plain[0], plain[-1]) == (101, 102)
    assert literal.count(102) == 1
    assert literal[-1] == 102


def test_a_tokenizer_without_an_end_token_is_refused():
    with pytest.raises(InputError, match="no end token"):
        Backbone(tiny.model("llama"), tiny.tokenizer("endless"), "tiny")


@pytest.mark.parametrize("kind", [k for k in tiny.TOKENIZERS if k != "endless"])
def test_there_is_a_padding_token(kind):
    assert prepare_tokenizer(tiny.tokenizer(kind)).pad_token_id is not None


def test_padding_by_hand(minilm):
    ids, mask = minilm.pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = minilm.pad([[5, 6, 7], [8]], side="left")
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_the_mask_comes_from_lengths_where_the_end_token_pads():
    """GPT-2 pads with its end token: comparing ids would take the end of the text for padding."""
    backbone = tiny.backbone("gpt2")
    rows = backbone.tokenize(["one", "a longer one"])
    assert backbone.tokenizer.pad_token_id == rows[0][-1]
    _, mask = backbone.pad(rows)
    assert mask.sum(1).tolist() == [len(row) for row in rows]
    apart = torch.cat([states(backbone, backbone.pad([row]), "causal", "layer-eos") for row in rows])
    torch.testing.assert_close(states(backbone, backbone.pad(rows), "causal", "layer-eos"), apart, rtol=0, atol=2e-5)


def test_no_text_is_longer_than_the_positions():
    backbone = tiny.backbone("bert")
    assert backbone.max_length == 128
    assert len(backbone.tokenize(["x" * 500])[0]) == 128
    assert len(backbone.tokenize(["x" * 500], 1000)[0]) == 128


# ------------------------------------------------------------------------------------------------- finding, loading


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a network call was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_minilm_is_the_package_and_needs_no_network(no_network, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # the package must do, not the switch
    assert resolve(MINILM).endswith("model")
    backbone = Backbone.load(device="cpu", dtype="float32")
    assert (backbone.name, backbone.layers, backbone.width, backbone.decoder) == (MINILM, 6, 384, False)


@pytest.mark.parametrize("architecture", ["qwen3", "gemma2", "modernbert"])
def test_a_folder_loads_without_network(no_network, monkeypatch, tmp_path, architecture):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    folder = tiny.save_backbone(tmp_path / "model", architecture)
    loaded, made = (
        Backbone.load(str(folder), "cpu", "float32"),
        tiny.backbone(architecture, tiny.KERNELS[architecture][0]),
    )
    assert loaded.model.config._attn_implementation == tiny.KERNELS[architecture][0]
    assert loaded.fingerprint == made.fingerprint
    batch = loaded.pad(loaded.tokenize(["one", "two three"]))
    assert torch.equal(states(loaded, batch, "causal"), states(made, batch, "causal"))


def test_a_cached_model_is_taken_from_the_cache(no_network, monkeypatch, tmp_path):
    """Laid out as the hub library does it; a snapshot that lacks the weights is no local copy."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / ("0" * 40)
    tiny.save_backbone(snapshot, "qwen2")
    (tmp_path / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "models--someone--tiny" / "refs" / "main").write_text("0" * 40)
    assert resolve("someone/tiny") == str(snapshot)
    assert Backbone.load("someone/tiny", "cpu", "float32").name == "someone/tiny"
    (snapshot / "model.safetensors").unlink()
    assert resolve("someone/tiny") == "someone/tiny"


@pytest.mark.parametrize(
    "name",
    ["", " ", "no spaces allowed", "../elsewhere/x", "a/b/c", "a//b", "-x/y", "a--b/c", "a..b", "x/y.git", "x" * 300],
)
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name):
    with pytest.raises(
        InputError, match="neither a folder nor a hub id such as sentence-transformers/all-MiniLM-L6-v2"
    ):
        Backbone.load(name)


def test_an_unknown_model_offline_is_one_sentence():
    with pytest.raises(InputError, match="'nobody/nothing' is not on this machine and the hub cannot be reached"):
        Backbone.load("nobody/nothing")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no model: it has no config\.json"):
        Backbone.load(str(tmp_path))


@pytest.mark.parametrize("damage", ["config", "weights", "no weights", "no tokenizer"])
def test_a_damaged_folder_is_one_sentence(tmp_path, damage):
    folder = tiny.save_backbone(tmp_path / "model", "llama")
    if damage == "config":
        (folder / "config.json").write_text("{")
    elif damage == "weights":
        (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    elif damage == "no weights":
        (folder / "model.safetensors").unlink()
    else:
        for file in folder.glob("*token*"):
            file.unlink()
    with pytest.raises(InputError, match="cannot load the model") as raised:
        Backbone.load(str(folder), "cpu")
    assert "\n" not in str(raised.value)


def test_devices_and_dtypes():
    assert pick_dtype("float16", torch.device("cpu")) == torch.float16
    with pytest.raises(InputError, match="dtype 'int8' is none of: auto, float32, bfloat16, float16"):
        pick_dtype("int8", torch.device("cpu"))
    for device in ("tpu", "", "cuda:99", "cpu:x"):
        with pytest.raises(InputError, match=f"device '{device}' is not available here; valid: auto, cpu"):
            pick_device(device)


def test_loading_takes_the_eager_kernel_only_where_asked(tmp_path):
    folder = str(tiny.save_backbone(tmp_path / "model", "llama"))
    sdpa, eager = (Backbone.load(folder, "cpu", "float32", attention_kernel=k) for k in (None, "eager"))
    assert sdpa.model.config._attn_implementation == "sdpa"
    assert eager.model.config._attn_implementation == "eager"
    batch = tiny.batch(LENGTHS)
    mask = batch[1].bool()
    for attention in ("causal", "bidirectional"):
        a, b = states(sdpa, batch, attention), states(eager, batch, attention)
        torch.testing.assert_close(a[mask], b[mask], rtol=0, atol=2e-5)


def test_half_precision_on_a_cpu_stays_close(tmp_path):
    folder = str(tiny.save_backbone(tmp_path / "model", "qwen3"))
    full, half = (Backbone.load(folder, "cpu", dtype) for dtype in ("float32", "bfloat16"))
    assert half.fingerprint == full.fingerprint  # the weights are one and the same: products are rounded, they are not
    for attention in ("causal", "bidirectional"):
        a, b = (states(x, tiny.batch(LENGTHS), attention, "layer-means") for x in (full, half))
        assert not torch.equal(a, b)
        assert torch.cosine_similarity(a, b, dim=-1).min() > 0.99


def test_the_fingerprint_sees_every_change():
    tensors = {"a": torch.arange(12.0).view(3, 4), "b": torch.ones(5)}
    same = {"b": torch.ones(5), "a": torch.arange(12.0).view(3, 4)}
    assert fingerprint(tensors) == fingerprint(same)
    changed = {k: v.clone() for k, v in tensors.items()}
    changed["a"][2, 3] += 1e-6
    assert changed["a"][2, 3] != 11.0
    others = [
        changed,
        {"a": tensors["a"].view(4, 3), "b": tensors["b"]},
        {"a": tensors["a"].bfloat16(), "b": tensors["b"]},
        {"c": tensors["a"], "b": tensors["b"]},
        {"a": tensors["a"]},
    ]
    assert len({fingerprint(t) for t in [tensors, *others]}) == 6
    assert fingerprint(tensors, limit=17) != fingerprint(tensors)  # sampled, so not taken for a full one


def test_the_folder_of_a_backbone_may_be_moved(tmp_path):
    folder = tiny.save_backbone(tmp_path / "model", "bert")
    first = Backbone.load(str(folder), "cpu", "float32").fingerprint
    shutil.move(folder, tmp_path / "moved")
    assert Backbone.load(str(tmp_path / "moved"), "cpu", "float32").fingerprint == first


@pytest.mark.parametrize("read", ["tokens", "layer-eos", "layer-means"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_in_half_precision_on_a_cpu_states_are_float32_and_near(minilm, attention, read):
    half = Backbone.load(MINILM, "cpu", "bfloat16")
    batch = half.pad(half.tokenize(["delete a folder", "a longer text about cats, dogs and one folder"]))
    states, _ = half.states(*batch, attention=attention, read=read)
    exact, _ = minilm.states(*batch, attention=attention, read=read)
    assert states.dtype == torch.float32
    real = batch[1].bool() if read == "tokens" else slice(None)
    assert torch.nn.functional.cosine_similarity(states, exact, dim=-1)[real].min() > 0.999
