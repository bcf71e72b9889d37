"""Import of the paper's release format: the same vectors as the release's own tensors give; sentences for the rest."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.designs import design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.evaluation.models import with_instruction
from explorer.importing import PAPER_TEXTS, import_release
from explorer.pooling import CrossAttentionPooler, PoolerConfig, paper_name

TEXTS = ["a red cat", "the green house by the river"]


def release(folder: Path, layers: int, *, pickled: bool = False, headed: bool = False) -> CrossAttentionPooler:
    """A folder as the paper's code leaves it, for the tiny Qwen; returns its pooler."""
    tiny.save_adapter(folder, tiny.model("qwen3"), seed=1)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    if headed:
        tensors = {name.replace("base_model.model.", "base_model.model.model."): t for name, t in tensors.items()}
    if pickled or headed:
        file.unlink()
        torch.save(tensors, folder / "adapter_model.bin")
    torch.manual_seed(2)
    pooler = CrossAttentionPooler(PoolerConfig(tiny.WIDTH, latents=5, heads=4, head_dim=8, layers=layers))
    torch.save({paper_name(name): tensor for name, tensor in pooler.state_dict().items()}, folder / "attn_pool.pt")
    return pooler


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return str(tiny.save_backbone(tmp_path_factory.mktemp("qwen"), "qwen3"))


@pytest.mark.parametrize("kind", [{}, {"pickled": True}, {"headed": True}])
@pytest.mark.parametrize(("name", "layers"), [("multi-layer-causal", 3), ("last-layer-bidirectional", 0)])
def test_an_imported_release_gives_its_own_vectors(tmp_path, backbone, name, layers, kind):
    pooler = release(tmp_path / "release", layers, **kind)
    record = import_release(tmp_path / "release", backbone, name, tmp_path / "mine", heads=4)
    loaded = Backbone.load(backbone, "cpu", "float32")
    found = PooledEncoder.load(tmp_path / "mine", loaded, "mine").encode(TEXTS)
    plain = Backbone.load(backbone, "cpu", "float32")
    plain.add_adapter("theirs", tiny.save_adapter(tmp_path / "again", tiny.model("qwen3"), seed=1))
    theirs = PooledEncoder("theirs", plain, design(name), pooler, TextSettings(), "theirs")
    np.testing.assert_allclose(found, theirs.encode(TEXTS), atol=1e-6)
    config = json.loads((tmp_path / "mine" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == backbone
    assert record["pooler"]["layers"] == layers
    assert set(record["training"]["imported"]) == {"adapter", "pooler"}


def test_an_imported_release_reads_texts_as_the_papers_code_does(tmp_path, backbone, monkeypatch):
    """Prompt and text, one after the other: run_mteb_retrieval.py, `self.prompt + q`; documents without."""
    release(tmp_path / "release", 3)
    record = import_release(tmp_path / "release", backbone, "multi-layer-causal", tmp_path / "mine", heads=4)
    assert record["texts"]["instruction_template"] == "{instruction}"
    encoder = PooledEncoder.load(tmp_path / "mine", Backbone.load(backbone, "cpu", "float32"), "mine")
    asked = with_instruction(encoder, "Given a claim, find it.", always=False, type="Retrieval")
    encoder.encode(["the first text"])  # with it the attention is proved, on texts of its own
    read: list[str] = []
    inner = Backbone.tokenize
    monkeypatch.setattr(
        Backbone, "tokenize", lambda self, texts, *more: (read.extend(texts), inner(self, texts, *more))[1]
    )
    for one in (encoder, asked):
        one.encode(["how?"], "query")
        one.encode(["so"], "document")
    assert read == [f"{PAPER_TEXTS.query_prompt}how?", "so", "Given a claim, find it.how?", "so"]
    mine = import_release(
        tmp_path / "release", backbone, "multi-layer-causal", tmp_path / "other", heads=4, texts=TextSettings()
    )
    assert mine["texts"]["instruction_template"] == ""


def test_designs_without_a_pooler_need_none(tmp_path, backbone):
    release(tmp_path / "release", 3)
    (tmp_path / "release" / "attn_pool.pt").unlink()
    record = import_release(tmp_path / "release", backbone, "eos-causal", tmp_path / "mine")
    assert record["pooler"] is None
    assert record["parameters"] > 0
    assert PooledEncoder.load(tmp_path / "mine", Backbone.load(backbone, "cpu", "float32"), "m").encode(TEXTS).any()


class Evil:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("spoil", "options", "said"),
    [
        (lambda f: None, {"heads": 5}, "5 heads do not divide the 32 rows of W_q"),
        (lambda f: (f / "attn_pool.pt").unlink(), {}, "there is no file"),
        (lambda f: (f / "attn_pool.pt").write_bytes(b"no tensors"), {}, "not a file of tensors"),
        (lambda f: torch.save({"a": torch.ones(2)}, f / "attn_pool.pt"), {}, "does not belong to a pooler"),
        (lambda f: torch.save([1], f / "attn_pool.pt"), {}, "holds no dictionary of tensors"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"x"), {}, "no safetensors file"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), {}, "adapter_model.bin is missing"),
        (lambda f: (f / "adapter_config.json").unlink(), {}, "no adapter_config.json"),
        (lambda f: (f / "adapter_config.json").write_text("{"), {}, "not valid JSON"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), {}, "describes no LoRA"),
        (lambda f: None, {"design_name": "last-layer-causal"}, "has a layer matrix"),
        (lambda f: None, {"design_name": "nope"}, "unknown design"),
        (lambda f: None, {"design_name": "mean-causal", "pooler": Path("x.pt")}, "no trainable pooler"),
        (lambda f: None, {"backbone": "no/such/name"}, "neither a folder nor a hub id"),
        (lambda f: None, {"adapter": Path("nowhere")}, "no adapter folder"),
    ],
)
def test_what_does_not_fit_is_said_and_leaves_nothing(tmp_path, backbone, spoil, options, said):
    release(tmp_path / "release", 3)
    spoil(tmp_path / "release")
    values = {"adapter": tmp_path / "release", "backbone": backbone, "design_name": "multi-layer-causal", "heads": 4}
    with pytest.raises(InputError, match=said):
        import_release(**(values | options), output=tmp_path / "mine")
    assert not list(tmp_path.glob("mine*"))
    assert not list(tmp_path.glob(".mine*"))


def test_nothing_in_a_pickle_is_run(tmp_path, backbone):
    release(tmp_path / "release", 3)
    with (tmp_path / "release" / "attn_pool.pt").open("wb") as file:
        pickle.dump({"latents": Evil(tmp_path / "was-here")}, file)
    with pytest.raises(InputError, match="not a file of tensors alone"):
        import_release(tmp_path / "release", backbone, "multi-layer-causal", tmp_path / "mine", heads=4)
    assert not (tmp_path / "was-here").exists()


def test_a_pooler_for_another_backbone_is_refused(tmp_path, backbone):
    release(tmp_path / "release", 7)
    with pytest.raises(InputError, match="layer matrix has 7 rows"):
        import_release(tmp_path / "release", backbone, "multi-layer-causal", tmp_path / "mine", heads=4)


def test_a_folder_in_use_is_not_written_over(tmp_path, backbone):
    release(tmp_path / "release", 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError, match="is there already"):
        import_release(tmp_path / "release", backbone, "multi-layer-causal", tmp_path / "mine", heads=4)


def test_import_on_the_command_line(tmp_path, backbone, capsys):
    release(tmp_path / "release", 3)
    words = [
        "import",
        "--adapter",
        str(tmp_path / "release"),
        "--backbone",
        backbone,
        "--output",
        str(tmp_path / "mine"),
    ]
    assert main([*words, "--design", "multi-layer-causal", "--heads", "4", "--max-length", "64", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["output"] == str(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "variant.json").read_text())["texts"]["max_length"] == 64
    texts = json.loads((tmp_path / "mine" / "variant.json").read_text())["texts"]
    assert texts["query_prompt"] == PAPER_TEXTS.query_prompt
    assert main([*words, "--design", "multi-layer-causal"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
