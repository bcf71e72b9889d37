"""Encoding: order, packing, progress, stopping, memory; the published vectors; variants that survive saving."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from explorer import pooler_files
from explorer.backbone import Backbone
from explorer.designs import DESIGNS, MINILM, design
from explorer.encoder import PooledEncoder, SentenceTransformerEncoder, TextSettings, pack
from explorer.errors import Cancelled, InputError
from explorer.pooling import CrossAttentionPooler, PoolerConfig, build_pooler
from explorer.training import commit

TEXTS = ["a", "the quick brown fox", "b" * 90, "", "two words", "c" * 40, "x y z " * 9, "the quick brown fox"]

VARIED = [
    "Delete a folder and everything in it.",
    "",
    " ",
    "🦊🦊 emoji 👩‍👩‍👧‍👧 and ﬂags 🇺🇳",
    "word " * 700,
    "مرحبا بالعالم، هذا نص من اليمين إلى اليسار",
    "שלום עולם",
    "混ぜた テキスト with latin",
    "line one\nline two\ttabbed\r\n",
    "ALL CAPS, Ünïcödé, naïve café",
    "a",
    "!?!?...",
    "0123456789 " * 30,
    "def f(x):\n    return {'a': [1, 2, 3]}  # code",
    *(f"{'padding ' * n}sentence number {n}" for n in range(1, 40, 5)),
]


@pytest.fixture(scope="module")
def bert() -> Backbone:
    return tiny.backbone("bert")


@pytest.fixture(scope="module")
def encoder(bert) -> PooledEncoder:
    return PooledEncoder.untrained(bert, design("mean-bidirectional"))


def random_variant(backbone: Backbone, name: str, folder: Path, seed: int = 0, **texts) -> PooledEncoder:
    """A design with random LoRA adapter and random pooler, as a fine-tune would leave it."""
    adapter = tiny.save_adapter(folder / f"adapter-{seed}", tiny.model(backbone.config.model_type), seed)
    backbone.add_adapter(f"{name}-{seed}", adapter)
    chosen = design(name)
    torch.manual_seed(seed)
    sizes = PoolerConfig(backbone.width, 3, 2, 8, backbone.layers if chosen.pooling == "multi-layer" else 0)
    pooler = build_pooler(chosen, backbone.width, backbone.layers, sizes)
    for parameter in pooler.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return PooledEncoder(f"{name}-{seed}", backbone, chosen, pooler, TextSettings(**texts), f"{name}-{seed}")


# ------------------------------------------------------------------------------------------------------- encoding


def test_vectors_are_unit_length_float32_in_the_order_of_the_texts(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=2e-5)
    np.testing.assert_allclose(vectors[1], vectors[7], atol=2e-5)
    distances = np.abs(alone[:, None] - alone[None]).max(-1)
    assert distances[np.triu_indices(7, 1)].min() > 1e-2  # the others differ, so their order was seen


@pytest.mark.parametrize("budget", [1, 7, 64, 100_000])
def test_the_token_budget_does_not_change_vectors(encoder, budget):
    np.testing.assert_allclose(encoder.encode(TEXTS, token_budget=budget), encoder.encode(TEXTS), atol=2e-5)


def test_windows_do_not_change_vectors(encoder, monkeypatch):
    expected = encoder.encode(TEXTS)
    monkeypatch.setattr("explorer.encoder.WINDOW", 3)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=2e-5)


def test_no_text_is_no_vector(encoder):
    assert encoder.encode([]).shape == (0, 32)


def test_text_that_no_encoding_can_hold_is_encoded(encoder):
    """Half a surrogate pair, as a browser may send it."""
    assert np.isfinite(encoder.encode(["half \ud83e pair", "\x00", "\ufffe"])).all()


def test_packing_by_hand():
    ids = [[0] * n for n in (9, 5, 4, 3, 2, 1)]
    order = range(6)
    assert pack(order, 0, ids, 20) == [0, 1]  # 2 rows of 9
    assert pack(order, 0, ids, 8) == [0]  # over budget, but something must go
    assert pack(order, 1, ids, 20) == [1, 2, 3, 4]  # 4 rows of 5
    assert pack(order, 1, ids, 19) == [1, 2, 3]
    assert pack(order, 4, ids, 1000) == [4, 5]
    assert pack([3, 2], 0, ids, 9) == [3, 2]  # rows of 3, the first is the longest by contract
    assert pack([0, 1], 0, [[], []], 4) == [0, 1]  # empty rows count as one token


def test_batches_stay_within_the_budget(encoder, monkeypatch):
    sizes = []
    real = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda ids, mask, *_: sizes.append(int(mask.sum())) or real(ids, mask))
    encoder.encode(TEXTS, token_budget=100)
    assert max(sizes) <= 100
    assert len(sizes) < len(TEXTS)


def test_progress_rises_to_the_total(encoder):
    seen = []
    encoder.encode(TEXTS, progress=lambda done, total: seen.append((done, total)), token_budget=50)
    done = [d for d, _ in seen]
    assert done == sorted(set(done))
    assert len(done) > 2
    assert seen[-1] == (len(TEXTS), len(TEXTS))
    assert {total for _, total in seen} == {len(TEXTS)}


def test_stopping(encoder):
    stop = threading.Event()
    seen = []

    def progress(done, _total):
        seen.append(done)
        if len(seen) == 2:
            stop.set()

    with pytest.raises(Cancelled, match=f"stopped after .* of {len(TEXTS)} texts"):
        encoder.encode(TEXTS, progress=progress, cancel=stop, token_budget=50)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
    ids=["cuda", "cpu", "mps"],
)
def test_running_out_of_memory_makes_batches_smaller(encoder, monkeypatch, error):
    expected = encoder.encode(TEXTS)
    real, sizes = encoder.forward, []

    def forward(ids, mask, *_):
        sizes.append(int(mask.sum()))  # no padding is computed
        if sizes[-1] > 150:
            raise error
        return real(ids, mask)

    monkeypatch.setattr(encoder, "forward", forward)
    done = []
    vectors = encoder.encode(TEXTS, progress=lambda d, _: done.append(d))
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
    assert done[-1] == len(TEXTS)
    failed = [size for size in sizes if size > 150]
    assert failed
    assert all(after <= before / 2 for before, after in zip(failed, sizes[1:], strict=False))


def test_no_memory_for_a_single_text_is_said_in_one_sentence(encoder, monkeypatch):
    def forward(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(encoder, "forward", forward)
    with pytest.raises(InputError, match="'mean-bidirectional' ran out of memory on a single text; shorten max_length"):
        encoder.encode(TEXTS)


def test_other_errors_are_not_taken_for_lack_of_memory(encoder, monkeypatch):
    def forward(*_):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(encoder, "forward", forward)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        encoder.encode(TEXTS)


def test_several_threads_get_what_one_gets(bert):
    encoders = [PooledEncoder.untrained(bert, d) for d in DESIGNS.values() if not d.trainable_pooler]
    expected = [e.encode(TEXTS) for e in encoders]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        found[i] = encoders[i % len(encoders)].encode(TEXTS * 3, token_budget=120)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        np.testing.assert_allclose(found[i], np.concatenate([expected[i % len(encoders)]] * 3), atol=2e-5)


# ------------------------------------------------------------------------------------------------ settings and keys


def test_prompts_are_put_before_texts(bert):
    texts = TextSettings(query_prompt="Query: ", document_prompt="Passage: ")
    plain = PooledEncoder.untrained(bert, design("mean-bidirectional"))
    prompted = PooledEncoder.untrained(bert, design("mean-bidirectional"), texts=texts)
    for kind, prompt in (("query", "Query: "), ("document", "Passage: ")):
        np.testing.assert_array_equal(prompted.encode(["x"], kind), plain.encode([prompt + "x"], kind))
        assert np.abs(prompted.encode(["x"], kind) - plain.encode(["x"], kind)).max() > 1e-2


def test_the_key_names_everything_that_decides_the_vectors(bert):
    def key(kind="document", name="mean-bidirectional", **texts):
        return PooledEncoder.untrained(bert, design(name), texts=TextSettings(**texts)).key(kind)

    keys = [
        key(),
        key(max_length=64),
        key(document_prompt="p"),
        key("query", query_prompt="q"),
        key(name="mean-causal"),
        key(name="eos-bidirectional"),
    ]
    half = Backbone(tiny.model("bert"), tiny.tokenizer("bert"), "tiny/bert", dtype=torch.bfloat16)
    other = tiny.backbone("bert", seed=1)
    for backbone in (half, other):
        keys.append(PooledEncoder.untrained(backbone, design("mean-bidirectional")).key("document"))
    assert len(set(keys)) == len(keys)
    assert key(query_prompt="q") == key()  # says nothing about documents
    assert key(max_length=1000) == key(max_length=128)  # no longer than the backbone's positions


def test_long_texts_are_cut(bert):
    short = PooledEncoder.untrained(bert, design("mean-bidirectional"), texts=TextSettings(max_length=10))
    np.testing.assert_array_equal(short.encode(["abcdefgh" + "i" * 50]), short.encode(["abcdefgh"]))
    assert np.abs(short.encode(["abcdefgh"]) - short.encode(["abcdefg"])).max() > 1e-3


@pytest.mark.parametrize(
    "texts", [{"max_length": 3}, {"max_length": "64"}, {"max_length": 9.5}, {"query_prompt": None}]
)
def test_unfit_text_settings_are_refused(texts):
    with pytest.raises(InputError, match=r"max_length must be a whole number of at least 4|a prompt must be a text"):
        TextSettings(**texts)


@pytest.mark.parametrize("name", [d.name for d in DESIGNS.values() if d.trainable_pooler])
def test_a_random_pooler_is_not_shown_as_a_result(bert, name):
    with pytest.raises(InputError, match=f"{name} has a trainable pooler: untrained it is random"):
        PooledEncoder.untrained(bert, design(name))


# ----------------------------------------------------------------------------------------------- published vectors


@pytest.fixture(scope="module")
def published_vectors() -> np.ndarray:
    """What sentence-transformers makes of the same weights and texts, in float32."""
    from explorer.hub import resolve

    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(resolve(MINILM), device="cpu")
    return model.encode(VARIED, normalize_embeddings=True)


def test_the_published_model_gives_the_published_vectors(minilm, published_vectors):
    encoder = PooledEncoder.untrained(minilm, design("mean-bidirectional"))
    assert encoder.texts.max_length == 256
    assert max(len(row) for row in minilm.tokenize(VARIED)) > 256
    vectors = encoder.encode(VARIED)
    assert np.abs(vectors - published_vectors).max() <= 1e-5


def test_half_precision_stays_with_the_published_vectors(published_vectors):
    encoder = PooledEncoder.untrained(Backbone.load(device="cpu", dtype="bfloat16"), design("mean-bidirectional"))
    vectors = encoder.encode(VARIED)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors * published_vectors).sum(1).min() >= 0.9999
    assert np.abs(vectors - published_vectors).max() > 1e-5  # it was half precision


def test_a_contender_is_itself(published_vectors):
    encoder = SentenceTransformerEncoder(MINILM, device="cpu")
    seen = []
    vectors = encoder.encode(VARIED, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(vectors, published_vectors, atol=1e-5)
    assert seen[-1] == (len(VARIED), len(VARIED))
    assert encoder.dimension == 384
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        encoder.encode(VARIED, cancel=stop)


def test_a_folder_without_modules_is_no_contender(tmp_path):
    with pytest.raises(InputError, match=r"no sentence-transformers model: it has no modules.json"):
        SentenceTransformerEncoder(str(tmp_path))


# --------------------------------------------------------------------------------------------------- save and load


@pytest.mark.parametrize("architecture", ["bert", "qwen3"])
@pytest.mark.parametrize(
    "name", ["multi-layer-bidirectional", "multi-layer-causal", "last-layer-causal", "mean-causal"]
)
def test_a_variant_survives_saving(tmp_path, architecture, name):
    backbone = tiny.backbone(architecture)
    made = random_variant(backbone, name, tmp_path, query_prompt="q: ", max_length=60)
    made.save(tmp_path / "saved", training={"steps": 7})
    fresh = tiny.backbone(architecture)
    loaded = PooledEncoder.load(tmp_path / "saved", fresh, "loaded")
    assert (loaded.design, loaded.texts) == (made.design, made.texts)
    for kind in ("query", "document"):
        np.testing.assert_array_equal(loaded.encode(TEXTS, kind), made.encode(TEXTS, kind))
        assert loaded.key(kind) == made.key(kind)
    assert loaded.fingerprint == made.fingerprint
    raw = PooledEncoder("raw", fresh, made.design, made.pooler, made.texts)
    assert np.abs(raw.encode(TEXTS) - made.encode(TEXTS)).max() > 1e-2  # the adapter was on
    record = json.loads((tmp_path / "saved" / "variant.json").read_text())
    assert record["training"] == {"steps": 7}
    assert record["backbone"] == f"tiny/{architecture}"
    assert (
        loaded.own_bytes
        == made.own_bytes
        == sum(p.numel() * 4 for p in made.pooler.parameters()) + (backbone.memory().adapters[made.adapter])
    )


def test_a_saved_variant_names_nothing_of_this_machine(tmp_path):
    random_variant(tiny.backbone("bert"), "multi-layer-causal", tmp_path).save(tmp_path / "saved")
    files = {f.relative_to(tmp_path / "saved").as_posix() for f in (tmp_path / "saved").rglob("*") if f.is_file()}
    assert files == {
        "variant.json",
        "pooler.safetensors",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    }
    for file in ("variant.json", "adapter/adapter_config.json"):
        text = (tmp_path / "saved" / file).read_text()
        assert str(tmp_path) not in text
        assert str(Path.home()) not in text
    config = json.loads((tmp_path / "saved/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny/bert"


def test_a_large_pooler_is_kept_in_several_files(tmp_path, monkeypatch):
    backbone = tiny.backbone("bert")
    made = random_variant(backbone, "multi-layer-causal", tmp_path)
    made.save(tmp_path / "saved")
    monkeypatch.setattr(pooler_files, "LARGEST", 20_000)
    made.save(tmp_path / "shards")
    shards = sorted((tmp_path / "shards").glob("pooler-*.safetensors"))
    assert len(shards) > 1
    assert not (tmp_path / "shards" / "pooler.safetensors").exists()
    assert max(file.stat().st_size for file in shards) < 40_000
    loaded = PooledEncoder.load(tmp_path / "shards", tiny.backbone("bert"), made.name)
    assert loaded.fingerprint == PooledEncoder.load(tmp_path / "saved", tiny.backbone("bert"), made.name).fingerprint
    commit(tmp_path / "saved", tmp_path / "shards")
    assert not list((tmp_path / "shards").glob("pooler-*"))
    made.save(tmp_path / "broken")
    shards = sorted((tmp_path / "broken").glob("pooler-*.safetensors"))
    shards[0].unlink()
    with pytest.raises(InputError, match=r"'broken/pooler.safetensors' is missing or no safetensors file"):
        PooledEncoder.load(tmp_path / "broken", tiny.backbone("bert"), made.name)


def test_the_fingerprint_differs_when_anything_differs(tmp_path):
    backbone = tiny.backbone("bert")
    first = random_variant(backbone, "multi-layer-causal", tmp_path, seed=0)

    def fingerprint(pooler=None, adapter=first.adapter, chosen=first.design):
        return PooledEncoder("x", backbone, chosen, pooler or first.pooler, first.texts, adapter).fingerprint

    other_pooler = CrossAttentionPooler(first.pooler.config)
    other_pooler.load_state_dict(first.pooler.state_dict())
    assert fingerprint(other_pooler) == first.fingerprint  # the same weights again
    with torch.no_grad():
        other_pooler.mlp_out.bias[0] += 1e-3
    c = first.pooler.config
    more_heads = CrossAttentionPooler(PoolerConfig(c.width, c.latents, c.heads * 2, c.head_dim // 2, c.layers))
    more_heads.load_state_dict(first.pooler.state_dict())
    config = tmp_path / "adapter-0" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'))
    backbone.add_adapter("other alpha", tmp_path / "adapter-0")
    backbone.add_adapter("other weights", tiny.save_adapter(tmp_path / "b", tiny.model("bert"), seed=9))
    fingerprints = [
        first.fingerprint,
        fingerprint(other_pooler),
        fingerprint(more_heads),
        fingerprint(adapter=None),
        fingerprint(adapter="other alpha"),
        fingerprint(adapter="other weights"),
        fingerprint(chosen=design("multi-layer-bidirectional")),
        PooledEncoder("x", tiny.backbone("bert", seed=1), first.design, first.pooler, first.texts).fingerprint,
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def test_closing_takes_the_adapter_off_and_ends_what_runs(tmp_path):
    backbone = tiny.backbone("bert")
    plain = PooledEncoder.untrained(backbone, design("mean-bidirectional")).encode(TEXTS)
    variant = random_variant(backbone, "mean-bidirectional", tmp_path)
    closed = []

    def progress(done, _total):
        if not closed:
            closed.append(done)
            variant.close()

    with pytest.raises(InputError, match="was unloaded"):  # and not: the rest with the raw model
        variant.encode(TEXTS, progress=progress, token_budget=50)
    assert closed[0] < len(TEXTS)
    assert backbone.memory().adapters == {}
    variant.close()  # twice is nothing
    np.testing.assert_array_equal(PooledEncoder.untrained(backbone, design("mean-bidirectional")).encode(TEXTS), plain)


def damaged(folder: Path, damage: str) -> None:
    record = folder / "variant.json"
    described = json.loads(record.read_text())
    if damage == "no record":
        record.unlink()
    elif damage == "not JSON":
        record.write_text("{")
    elif damage == "a list":
        record.write_text("[]")
    elif damage == "not UTF-8":
        record.write_bytes(b'{"design": "\xff"}')
    elif damage == "no pooler":
        (folder / "pooler.safetensors").unlink()
    elif damage == "pooler is no safetensors":
        (folder / "pooler.safetensors").write_bytes(b"\x80\x02}q")
    elif damage == "no adapter tensors":
        (folder / "adapter" / "adapter_model.safetensors").unlink()
    elif damage == "adapter of another model":
        for file in (folder / "adapter").iterdir():
            file.unlink()
        tiny.save_adapter(folder / "adapter", tiny.model("gpt2"), seed=1)
    else:
        key, value = damage.split("=")
        described[key] = json.loads(value)
        record.write_text(json.dumps(described))


@pytest.mark.parametrize(
    "damage",
    [
        "no record",
        "not JSON",
        "a list",
        "not UTF-8",
        "no pooler",
        "pooler is no safetensors",
        "no adapter tensors",
        "adapter of another model",
        'design="middle-out"',
        "design=3",
        "backbone=null",
        "texts=[1]",
        'texts={"length": 5}',
        'texts={"max_length": "long"}',
        "pooler=7",
        'pooler={"width": 32}',
        'pooler={"width": 32, "latents": 4, "heads": 2, "head_dim": 8, "layers": 3}',
        'pooler={"width": 64, "latents": 3, "heads": 2, "head_dim": 8, "layers": 3}',
        'pooler={"width": 32, "latents": "3", "heads": 2, "head_dim": 8, "layers": 3}',
    ],
)
def test_a_damaged_variant_is_refused_and_leaves_no_trace(tmp_path, bert, damage):
    made = random_variant(tiny.backbone("bert"), "multi-layer-causal", tmp_path)
    made.save(tmp_path / "saved")
    PooledEncoder.load(tmp_path / "saved", bert, "whole").close()
    damaged(tmp_path / "saved", damage)
    with pytest.raises(InputError) as raised:
        PooledEncoder.load(tmp_path / "saved", bert, "damaged")
    assert "\n" not in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    assert bert.memory().adapters == {}


def test_saving_replaces_a_folder_whole_or_not_at_all(tmp_path, monkeypatch):
    first = random_variant(tiny.backbone("bert"), "multi-layer-causal", tmp_path)
    first.save(tmp_path / "saved", note="first")
    second = random_variant(tiny.backbone("bert"), "mean-causal", tmp_path, seed=1)

    def fail(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(second.backbone, "save_adapter", fail)
        with pytest.raises(OSError, match="no space left"):
            second.save(tmp_path / "saved", note="second")
        with pytest.raises(OSError, match="no space left"):
            second.save(tmp_path / "fresh", note="second")
    assert json.loads((tmp_path / "saved" / "variant.json").read_text())["note"] == "first"
    assert sorted(f.name for f in tmp_path.iterdir() if "adapter-" not in f.name) == ["saved"]
    second.save(tmp_path / "saved", note="second")
    assert not (tmp_path / "saved" / "pooler.safetensors").exists()
    assert PooledEncoder.load(tmp_path / "saved", tiny.backbone("bert"), "x").fingerprint == second.fingerprint


# ---- against sentence-transformers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["mpnet", "xlm-roberta", "bert"])
def test_mean_vectors_are_those_of_sentence_transformers(tmp_path, architecture):
    """MPNet and RoBERTa count positions from 2: with positions from 0 the cosine was .88 on all-mpnet-base-v2."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    folder = tiny.save_backbone(tmp_path / "model", architecture)
    transformer = Transformer(str(folder), max_seq_length=64)
    theirs = SentenceTransformer(modules=[transformer, Pooling(32, "mean"), Normalize()], device="cpu")
    backbone = Backbone.load(str(folder), "cpu", "float32")
    ours = PooledEncoder.untrained(backbone, DESIGNS["mean-bidirectional"], texts=TextSettings(64))
    np.testing.assert_allclose(ours.encode(TEXTS), theirs.encode(TEXTS), atol=1e-6)
    said = any("plain products" in note for note in ours.notes)
    assert said == (architecture == "mpnet")


# ---- prompts --------------------------------------------------------------------------------------------------------


def test_a_prompt_that_leaves_no_room_is_refused(bert):
    texts = TextSettings(max_length=16, query_prompt="Represent this sentence for searching: ")
    with pytest.raises(InputError, match=r"the query prompt takes \d+ of 16 tokens and leaves no room for a text"):
        PooledEncoder.untrained(bert, DESIGNS["mean-bidirectional"], texts=texts)


@pytest.mark.parametrize("name", ["mean-causal", "mean-bidirectional"])
def test_means_over_the_tokens_asked_for(bert, name):
    """Against states that are averaged by hand: byte-level tokens, [CLS] before and [SEP] after."""
    prompt, text = "find: ", "wool"
    ids, mask = bert.pad(bert.tokenize([prompt + text]))
    with torch.inference_mode():
        states = bert.states(ids, mask, attention=DESIGNS[name].attention, read="tokens")[0][0]
    ends = len(states) - 1
    slices = {"all": slice(0, ends + 1), "without-first": slice(1, ends), "text": slice(1 + len(prompt), ends)}
    assert ends == 1 + len(prompt) + len(text)
    for tokens, chosen in slices.items():
        encoder = PooledEncoder.untrained(bert, DESIGNS[name], texts=TextSettings(64, prompt, "", tokens))
        wanted = torch.nn.functional.normalize(states[chosen].mean(0), dim=0)
        found = encoder.encode([text, "another, longer one"], kind="query")[0]
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    with pytest.raises(InputError, match="tokens 'some' is none of: all, without-first, text"):
        TextSettings(tokens="some")
