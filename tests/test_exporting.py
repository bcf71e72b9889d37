"""Exports: loaded by sentence-transformers in a process that does not know this package, they give the same vectors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from explorer.backbone import Backbone
from explorer.designs import Reads, design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.evaluation.engine import EvaluationConfig, evaluate
from explorer.evaluation.results import Evaluation
from explorer.exporting import CODE, archive, check_repository, export
from explorer.pooling import PoolerConfig, build_pooler
from explorer.variants import Shelf

TEXTS = ["The cat sat on the mat.", "a", "", "naïve </s> [SEP] \ud83d words", "river " * 400]

ALONE = """
import json, sys
sys.path[:] = [p for p in sys.path if p]
try:
    import explorer
    raise SystemExit("this package is in the way")
except ModuleNotFoundError:
    pass
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], trust_remote_code=True, device="cpu")
texts = json.loads(sys.argv[2])
found = {"plain": model.encode(texts).tolist(), "query": model.encode_query(texts).tolist(),
         "dimension": model.get_embedding_dimension()}
if len(sys.argv) > 3:
    model.save(sys.argv[3])
    again = SentenceTransformer(sys.argv[3], trust_remote_code=True, device="cpu")
    found["again"] = again.encode(texts).tolist()
print(json.dumps(found))
"""


MTEB = """
import json, sys
import mteb
from sentence_transformers import SentenceTransformer
task = mteb.get_task("STSBenchmark")
task.metadata = task.metadata.model_copy(update={"dataset": {**task.metadata.dataset, "path": sys.argv[2]}})
model = SentenceTransformer(sys.argv[1], trust_remote_code=True, device="cpu")
found = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
print(json.dumps(found.task_results[0].get_score()))
"""


def alone(folder: Path, home: Path, save: Path | None = None) -> dict:
    """Vectors from a process in another folder, without this package."""
    return run(ALONE, home, str(folder), json.dumps(TEXTS), *([str(save)] if save else []))


def run(script: str, home: Path, *arguments: str):
    """What a script prints as JSON, run in another folder, without this package."""
    line = [sys.executable, "-c", script, *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
    }
    home.mkdir(exist_ok=True)
    done = subprocess.run(line, capture_output=True, text=True, cwd=home, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def variant(folder: Path, architecture: str, name: str, reads: Reads | None = None, **texts: str) -> tuple[Shelf, str]:
    """A shelf with one variant, adapter and pooler drawn at random, on a tiny backbone."""
    model = str(tiny.save_backbone(folder / "model", architecture))
    backbone = Backbone.load(model, "cpu", "float32")
    tiny.save_adapter(folder / "adapter", tiny.model(architecture), 3)
    backbone.add_adapter("drawn", folder / "adapter")
    torch.manual_seed(5)
    chosen, config = design(name, reads), None
    if name == "multi-layer-causal":  # as trained now; the other multi-layer design as trained before
        config = PoolerConfig.default(backbone.width, backbone.layers)
        config = replace(config, layer_matrix_added="after-norm")
    pooler = build_pooler(chosen, backbone.width, backbone.layers, config)
    settings = TextSettings(max_length=24, **texts)
    made = PooledEncoder("drawn", backbone, chosen, pooler, settings, "drawn")
    made.save(folder / "shelf" / "family" / name)
    return Shelf("cpu", "float32", backbones=[model], checkpoints=[folder / "shelf"]), f"family/{name}"


@pytest.mark.parametrize("architecture", ["bert", "llama"])
@pytest.mark.parametrize(
    "design", ["eos-causal", "last-layer-bidirectional", "multi-layer-causal", "multi-layer-bidirectional"]
)
def test_the_same_vectors_without_this_package(tmp_path, home, architecture, design):
    shelf, name = variant(tmp_path, architecture, design, query_prompt="find: ")
    expected = shelf.load(name)
    folder = export(name, tmp_path / "out", shelf)
    again = tmp_path / "again" if design == "multi-layer-causal" else None
    found = alone(folder, tmp_path / "elsewhere", again)
    assert np.abs(np.array(found["plain"]) - expected.encode(TEXTS)).max() < 1e-5
    assert np.abs(np.array(found["query"]) - expected.encode(TEXTS, "query")).max() < 1e-5
    assert found["dimension"] == expected.dimension
    if again:
        assert np.abs(np.array(found["again"]) - expected.encode(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("tokens", ["without-first", "text"])
def test_an_export_takes_means_over_the_same_tokens(tmp_path, home, tokens):
    shelf, name = variant(tmp_path, "llama", "multi-layer-bidirectional", query_prompt="find: ", tokens=tokens)
    expected = shelf.load(name)
    found = alone(export(name, tmp_path / "out", shelf), tmp_path / "elsewhere", tmp_path / "again")
    for kept in ("plain", "again"):
        assert np.abs(np.array(found[kept]) - expected.encode(TEXTS)).max() < 1e-5
    assert np.abs(np.array(found["query"]) - expected.encode(TEXTS, "query")).max() < 1e-5


@pytest.mark.parametrize("weights", ["merged", "adapter"])
def test_an_export_reads_one_token_where_the_variant_does(tmp_path, home, weights):
    shelf, name = variant(tmp_path, "llama", "last-layer-causal", "last-token")
    expected = shelf.load(name)
    folder = export(name, tmp_path / "out", shelf, weights)
    assert json.loads((folder / "pooled_encoder.json").read_text())["reads"] == "last-token"
    assert "Reads one token, the end token's state in the last layer" in (folder / "README.md").read_text()
    found = alone(folder, tmp_path / "elsewhere", tmp_path / "again")
    assert np.abs(np.array(found["plain"]) - expected.encode(TEXTS)).max() < 1e-5
    assert np.abs(np.array(found["again"]) - expected.encode(TEXTS)).max() < 1e-5


def test_an_export_from_before_there_was_a_choice_reads_all_tokens(tmp_path, home):
    shelf, name = variant(tmp_path, "llama", "last-layer-causal")
    folder = export(name, tmp_path / "out", shelf)
    told = json.loads((folder / "pooled_encoder.json").read_text())
    assert told.pop("reads") == "all-tokens"
    (folder / "pooled_encoder.json").write_text(json.dumps(told))
    found = alone(folder, tmp_path / "elsewhere")
    assert np.abs(np.array(found["plain"]) - shelf.load(name).encode(TEXTS)).max() < 1e-5


def test_adapter_exports_take_the_backbone_from_its_own_place(tmp_path, home):
    shelf, name = variant(tmp_path, "bert", "multi-layer-bidirectional")
    folder = export(name, tmp_path / "out", shelf, "adapter")
    assert not list(folder.glob("model*.safetensors"))
    assert (folder / "adapter" / "adapter_model.safetensors").exists()
    found = alone(folder, tmp_path / "elsewhere")
    assert np.abs(np.array(found["plain"]) - shelf.load(name).encode(TEXTS)).max() < 1e-5


def test_a_shipped_variant(tmp_path, home):
    shelf = Shelf("cpu", "float32")
    folder = export("multi-layer-bidirectional", tmp_path / "out", shelf)
    card = (folder / "README.md").read_text()
    assert 'SentenceTransformer("out", trust_remote_code=True)' in card
    assert "library_name: sentence-transformers" in card
    assert {path.name for path in folder.glob("*.py")} == set(CODE)
    shutil.unpack_archive(archive(folder), tmp_path / "unpacked")
    found = alone(tmp_path / "unpacked" / "out", tmp_path / "elsewhere")
    assert np.abs(np.array(found["plain"]) - shelf.load("multi-layer-bidirectional").encode(TEXTS)).max() < 1e-5


def test_mteb_gives_the_same_score(tmp_path, home, shared):
    """mteb with the export as any SentenceTransformer, against our own evaluation of the variant."""
    shelf, data = Shelf("cpu", "float32"), shared / "mteb"
    evaluate(shelf, EvaluationConfig(("minilm/eos-causal",), ("STSBenchmark",), data), tmp_path / "ours", quiet=True)
    (rows,) = Evaluation.load(tmp_path / "ours").rows.values()
    ours = rows["STSBenchmark"].main_score
    folder = export("eos-causal", tmp_path / "out", shelf)
    assert run(MTEB, tmp_path / "elsewhere", str(folder), str(data / "stsbenchmark-sts")) == pytest.approx(
        ours, abs=1e-5
    )


def test_what_cannot_be_exported_is_said(tmp_path, home):
    shelf = Shelf("cpu", "float32")
    for name, options, said in (
        ("bm25", {}, "nothing of ours to export"),
        ("minilm-published", {"weights": "adapter"}, "has no adapter"),
        ("nobody", {}, "no variant 'nobody'"),
        ("eos-causal", {"weights": "zip"}, "is none of: merged, adapter"),
    ):
        with pytest.raises(InputError, match=said):
            export(name, tmp_path / "out", shelf, **options)
    for name in ("no owner", "owner", "a/b/c", "../x", "owner/na me"):
        with pytest.raises(InputError, match="owner/name"):
            check_repository(name)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="not empty"):
        export("eos-causal", tmp_path / "full", shelf)
    assert not (tmp_path / "out").exists()


def test_the_command_line(tmp_path, home, capsys):
    from explorer.__main__ import main

    assert main(["export", "--variant", "minilm-published", "--output", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "merged"
    assert (tmp_path / "out" / "modules.json").exists()
    assert main(["export", "--variant", "nobody", "--output", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
