"""The shelf: what is found, under which name, loaded once, sharing one backbone, and gone when unloaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
import torch
from conftest import ROOT

from explorer import variants
from explorer.backbone import Backbone
from explorer.designs import DESIGNS, MINILM, SMOLLM2, design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.pooling import PoolerConfig, build_pooler
from explorer.variants import BM25, PUBLISHED, SHOWN_FIRST, Shelf, Variant, short_name

TRAINED = ("tiny/multi-layer-bidirectional", "tiny/last-layer-causal", "tiny/mean-bidirectional")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """The project without checkpoints of its own."""
    monkeypatch.setattr(variants, "CHECKPOINTS", tmp_path / "none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoints folder with three variants of one tiny BERT; the model's folder beside it."""
    root = tmp_path_factory.mktemp("shelf")
    model = tiny.save_backbone(root / "model", "bert")
    for seed, name in enumerate(TRAINED):
        save_variant(root / "checkpoints" / name, str(model), seed, training={"steps": 10 * seed})
    return root


def save_variant(folder, model: str, seed: int, **record) -> None:
    backbone = Backbone.load(model, "cpu", "float32")
    chosen = design(folder.name)
    backbone.add_adapter("new", tiny.save_adapter(folder.parent.parent / f"adapter-{seed}", tiny.model("bert"), seed))
    shutil.rmtree(folder.parent.parent / f"adapter-{seed}")
    torch.manual_seed(seed)
    sizes = PoolerConfig(32, 4, 2, 8, 3 if chosen.pooling == "multi-layer" else 0)
    pooler = build_pooler(chosen, 32, 3, sizes)
    PooledEncoder("new", backbone, chosen, pooler, TextSettings(), "new").save(folder, **record)


@pytest.fixture
def shelf(empty, folder) -> Shelf:
    return Shelf("cpu", "float32", checkpoints=[folder / "checkpoints"])


# ------------------------------------------------------------------------------------------------------ what there is


def test_an_empty_shelf_has_what_means_something_without_training(empty):
    found = [v for v in Shelf().variants if v.backbone != SMOLLM2]
    assert [v.name for v in found] == [
        PUBLISHED,
        "minilm-untrained/eos-causal",
        "minilm-untrained/mean-causal",
        "minilm-untrained/eos-bidirectional",
        BM25,
    ]
    assert [v.trained for v in found] == [True, False, False, False, True]
    assert all("random" not in v.how and v.how.endswith(".") for v in found)
    assert found[1].how.startswith("Not trained")


def test_listing_does_not_import_torch():
    """`variants` must answer at once, and the page must start before the models."""
    code = "import sys; from explorer.variants import Shelf; Shelf().variants; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_saved_variants_are_found_by_folder(shelf, folder):
    found = {v.name: v for v in shelf.variants if v.source == "checkpoint"}
    assert set(found) == set(TRAINED)
    assert shelf.problems == []
    one = found["tiny/last-layer-causal"]
    assert (one.design, one.backbone, one.trained) == (DESIGNS["last-layer-causal"], str(folder / "model"), True)
    assert one.how.startswith("Trained for 10 steps. Reads cross-attention over the tokens")


def test_a_variant_that_is_being_written_is_not_found(shelf, folder):
    hidden = folder / "checkpoints" / "tiny" / ".mean-causal.x.tmp"
    shutil.copytree(folder / "checkpoints" / TRAINED[0], hidden)
    try:
        shelf.refresh()
        assert {v.name for v in shelf.variants if v.source == "checkpoint"} == set(TRAINED)
    finally:
        shutil.rmtree(hidden)


@pytest.mark.parametrize("content", ["{", "[]", '{"design": "mean-causal"}', '{"design": "no-such", "backbone": "x"}'])
def test_a_broken_variant_is_told_and_left_out(empty, folder, tmp_path, content):
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / TRAINED[0] / "variant.json").write_text(content)
    shelf = Shelf(checkpoints=[tmp_path / "checkpoints"])
    assert {v.name for v in shelf.variants if v.source == "checkpoint"} == set(TRAINED[1:])
    assert len(shelf.problems) == 1
    assert shelf.problems[0].startswith(f"{TRAINED[0]}: ")


def test_refreshing_sees_what_came_and_went(empty, folder, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    shelf = Shelf(checkpoints=[tmp_path / "checkpoints"])
    target = tmp_path / "checkpoints" / "mine" / "run-1"
    shutil.copytree(folder / "checkpoints" / TRAINED[0], target)
    with pytest.raises(InputError):
        shelf.find("mine/run-1")
    shelf.refresh()
    assert shelf.find("mine/run-1").path == target
    shutil.rmtree(target)
    shelf.refresh()
    with pytest.raises(InputError):
        shelf.find("mine/run-1")


def test_names(empty, folder, tmp_path):
    shelf = Shelf(checkpoints=[folder / "checkpoints"])
    assert shelf.find("eos-causal").name == "minilm-untrained/eos-causal"
    assert shelf.find("mean-bidirectional").name == PUBLISHED  # the published model is this design
    with pytest.raises(InputError, match="no trained 'multi-layer-causal' on the shelf, and untrained its pooler"):
        shelf.find("multi-layer-causal")
    with pytest.raises(InputError, match=f"no variant 'nonsense' on the shelf; there are: {PUBLISHED}, .*{BM25}"):
        shelf.find("nonsense")
    with pytest.raises(InputError, match="no variant '' on the shelf"):
        shelf.find(None)
    # Once the default backbone's is trained, the bare name means that one.
    target = tmp_path / "checkpoints" / "minilm" / "eos-causal"
    target.mkdir(parents=True)
    (target / "variant.json").write_text(json.dumps({"design": "eos-causal", "backbone": MINILM}))
    shelf = Shelf(checkpoints=[tmp_path / "checkpoints"])
    assert shelf.find("eos-causal").name == "minilm/eos-causal"
    assert shelf.defaults == [PUBLISHED, "minilm/eos-causal", BM25]  # no pooler that would be random
    assert shelf.find("minilm-untrained/eos-causal").source == "untrained"


def test_the_page_begins_with_a_language_model_where_it_can_be_had(home, smollm2, monkeypatch):
    shelf = Shelf("cpu")
    there = {v.name for v in shelf.variants}
    assert shelf.shown_first == [name if name in there else variants.untrained_name(name) for name in SHOWN_FIRST]
    assert "smollm2/multi-layer-bidirectional" in shelf.shown_first
    assert shelf.backbone_ids == [SMOLLM2, MINILM]
    shown = [v.backbone for v in shelf.variants if v.source == "checkpoint"]
    assert shown == sorted(shown, key=lambda backbone: backbone != SMOLLM2)
    assert all(shelf.find(name).backbone != SMOLLM2 for name in shelf.defaults)  # many documents are no matter
    monkeypatch.setattr(variants, "has_smollm2", lambda: False)
    shelf = Shelf("cpu")
    assert shelf.backbone_ids == [MINILM]
    assert shelf.shown_first == shelf.defaults


def test_while_one_backbone_is_made_ready_all_else_goes_on(empty, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def load(name, *_, progress):
        if name == MINILM:
            return tiny.backbone("bert")
        progress(1, 4)
        begun.set()
        assert go_on.wait(30)
        raise InputError("that was all")

    monkeypatch.setattr(Backbone, "load", load)
    shelf = Shelf("cpu", backbones=["slow"])
    slow = "slow-untrained/mean-causal"
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(shelf.load, slow)
        assert begun.wait(30)
        assert shelf.dequantised(slow) == 0.25
        assert shelf.load("minilm-untrained/mean-causal").backbone.name
        shelf.unload("minilm-untrained/mean-causal")
        shelf.refresh()
        assert shelf.find(slow).name not in shelf.loaded
        go_on.set()
        with pytest.raises(InputError, match="that was all"):
            loading.result()
    assert shelf.dequantised(slow) is None


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"the checkpoints folder '.*nowhere' does not exist"):
        Shelf(checkpoints=[tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        (MINILM, "minilm"),
        ("Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        ("some/folder/My Model", "my-model"),
        ("folder/Model.Q4_1.gguf", "model.q4-1"),
        ("///", "backbone"),
    ],
)
def test_short_names(backbone, name):
    assert short_name(backbone) == name


def test_scores_come_from_the_record():
    assert Variant("x", "checkpoint", DESIGNS["mean-causal"], record={"scores": {"STS": 0.5}}).scores == {"STS": 0.5}
    assert Variant("x", "checkpoint", DESIGNS["mean-causal"]).scores == {}


# ---------------------------------------------------------------------------------------------------- what is loaded


def test_variants_of_one_backbone_share_its_weights(shelf, folder):
    encoders = [shelf.load(name) for name in TRAINED]
    assert len({id(e.backbone) for e in encoders}) == 1
    assert shelf.load(TRAINED[0]) is encoders[0]
    assert shelf.loaded == list(TRAINED)
    vectors = [e.encode(["a text"]) for e in encoders]
    assert min(np.abs(vectors[i] - vectors[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-2

    memory = shelf.memory()
    weights = Backbone.load(str(folder / "model"), "cpu", "float32").memory().weights
    assert memory.backbones == {str(folder / "model"): weights}
    lora = sum(memory.variants[TRAINED[2]] for _ in TRAINED)
    poolers = sum(p.numel() * 4 for e in encoders for p in e.pooler.parameters())
    assert memory.variants[TRAINED[2]] > 0
    assert memory.total == weights + lora + poolers


def test_unloading(shelf):
    first, second = shelf.load(TRAINED[0]), shelf.load(TRAINED[1])
    expected = second.encode(["a text"])
    shelf.unload(TRAINED[0])
    assert shelf.loaded == [TRAINED[1]]
    assert list(shelf.memory().variants) == [TRAINED[1]]
    np.testing.assert_array_equal(second.encode(["a text"]), expected)
    with pytest.raises(InputError, match=f"'{TRAINED[0]}' was unloaded"):
        first.encode(["a text"])
    shelf.unload(TRAINED[0])  # twice is nothing
    again = shelf.load(TRAINED[0])
    assert again is not first
    assert again.fingerprint == first.fingerprint
    for name in TRAINED[:2]:
        shelf.unload(name)
    assert shelf.memory().total == 0


def test_what_left_the_shelf_can_be_unloaded(empty, folder, tmp_path):
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    shelf = Shelf("cpu", "float32", checkpoints=[tmp_path / "checkpoints"])
    for name in TRAINED[:2]:
        shelf.load(name)
    shutil.rmtree(tmp_path / "checkpoints" / "tiny")
    shelf.refresh()
    shelf.unload(TRAINED[0])
    shelf.unload(TRAINED[1])
    assert shelf.memory().total == 0


def test_asked_at_once_a_variant_is_loaded_once(shelf, monkeypatch):
    loads = []
    real = Backbone.load
    monkeypatch.setattr(Backbone, "load", lambda *a, **k: loads.append(a) or real(*a, **k))
    with ThreadPoolExecutor(8) as pool:
        encoders = list(pool.map(lambda i: shelf.load(TRAINED[i % 3]), range(12)))
    assert len(loads) == 1
    assert len({id(e) for e in encoders}) == 3


def test_a_variant_that_cannot_be_loaded_is_not_counted(empty, folder, tmp_path):
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / TRAINED[0] / "pooler.safetensors").unlink()
    shelf = Shelf("cpu", "float32", checkpoints=[tmp_path / "checkpoints"])
    with pytest.raises(InputError, match=r"multi-layer-bidirectional/pooler.safetensors' is missing"):
        shelf.load(TRAINED[0])
    assert shelf.loaded == []
    assert shelf.load(TRAINED[1]).backbone.memory().adapters.keys() == {TRAINED[1]}


def test_bm25_makes_no_vectors(shelf):
    with pytest.raises(InputError, match="'bm25' matches words and makes no vectors"):
        shelf.load(BM25)


def test_a_further_backbone_brings_its_untrained_designs(empty, folder):
    shelf = Shelf("cpu", "float32")
    added = shelf.add_backbone(str(folder / "model"))
    assert {v.design.name for v in added} == {d.name for d in DESIGNS.values() if not d.trainable_pooler}
    assert {v.name for v in added} >= {"model-untrained/mean-bidirectional", "model-untrained/eos-causal"}
    assert shelf.load("model-untrained/mean-causal").dimension == 32


def test_a_backbone_that_does_not_load_is_not_put_on_the_shelf(empty, tmp_path):
    shelf = Shelf("cpu", "float32")
    before = [v.name for v in shelf.variants]
    with pytest.raises(InputError, match="holds no model"):
        shelf.add_backbone(str(tmp_path))
    with pytest.raises(InputError):
        shelf.add_contender(str(tmp_path))
    shelf.refresh()
    assert [v.name for v in shelf.variants] == before
    assert shelf.loaded == []


def test_a_contender_stands_beside_the_variants(empty, monkeypatch):
    made = []

    class Fake:
        def __init__(self, name, device, trust_remote_code):
            made.append((name, device, trust_remote_code))
            self.own_bytes = 5

        def close(self):
            made.append("closed")

    monkeypatch.setattr("explorer.encoder.SentenceTransformerEncoder", Fake)
    shelf = Shelf("cpu", "float32")
    assert shelf.add_contender("someone/model").source == "sentence-transformers"
    assert shelf.add_contender("someone/model").name == "someone/model"
    assert shelf.load("someone/model").own_bytes == shelf.memory().total == 5
    shelf.unload("someone/model")
    assert made == [("someone/model", "cpu", False), "closed"]


def test_a_further_folder_that_is_gone_leaves_the_shelf(home, tmp_path):
    (tmp_path / "extra").mkdir()
    shelf = Shelf("cpu", checkpoints=[tmp_path / "extra"])
    assert tmp_path / "extra" in shelf.folders
    (tmp_path / "extra").rmdir()
    shelf.refresh()
    assert tmp_path / "extra" not in shelf.folders
