"""What an imported release reads: its vectors are those of the paper's released code, model by model.

The release's code is written down anew here, plainly and from its tensors alone: `pooled` is its cross-attention, which
knows no mask, and `released` what its `model_loaders/model1.py` to `model5.py` hand to it, with padding on the left.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.designs import DESIGNS, Design, design
from explorer.encoder import PooledEncoder
from explorer.errors import InputError
from explorer.figures.layers import contribution_bars, tokens_heatmap
from explorer.importing import NOTES, PADS_WITH_END, find_pooler, import_release
from explorer.layers.reading import read
from explorer.pooling import CrossAttentionPooler, PoolerConfig, paper_name
from explorer.ui.html_layers import words_on_text
from explorer.ui.variant_fields import fields
from explorer.variants import Shelf

TEXTS = ["a red cat", "the green house by the river", "no"]
HEADS, PAD = 4, 0
MODELS = {note.split()[1]: name for name, d in DESIGNS.items() if (note := d.note).startswith("Model")}


# -------------------------------------------------------------------------------------------- what the release computes


def pooled(tensors: dict[str, Tensor], states: Tensor) -> Tensor:
    """The release's pooler: states [B, n, d] -> unit [B, d]; every position counts, there is no mask."""
    attend, mlp = "cross_attend_blocks.0.", "cross_attend_blocks.1."
    if "pos_emb.weight" in tensors:
        states = states + tensors["pos_emb.weight"][: states.shape[1]]
    latents = tensors["latents"].expand(len(states), -1, -1)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def in_heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # [B, heads, n, head_dim]

    q = F.linear(norm(latents, f"{attend}norm_context"), tensors[f"{attend}fn.to_q.weight"])
    k, v = F.linear(norm(states, f"{attend}norm"), tensors[f"{attend}fn.to_kv.weight"]).chunk(2, -1)
    out = F.scaled_dot_product_attention(in_heads(q), in_heads(k), in_heads(v)).transpose(1, 2).flatten(2)
    x = F.linear(out, tensors[f"{attend}fn.to_out.weight"]) + latents
    net = f"{mlp}fn.net."
    value, gate = F.linear(norm(x, f"{mlp}norm"), tensors[f"{net}0.weight"], tensors[f"{net}0.bias"]).chunk(2, -1)
    x = F.linear(value * F.gelu(gate), tensors[f"{net}2.weight"], tensors[f"{net}2.bias"]) + x
    return F.normalize(x.mean(1), dim=-1)


@torch.inference_mode()
def released(folder: Path, model: str, texts: list[str], architecture: str) -> np.ndarray:
    """Vectors of the release's Model 1..5, all texts in one batch with padding on the left."""
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(tiny.model(architecture, "eager"), str(folder))
    tokenizer = tiny.tokenizer("llama")
    rows = [[*tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts]  # add_eos_token=True
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    if model in "45":  # every token sees every real one
        attend = torch.zeros(len(rows), 1, longest, longest).masked_fill(~mask.bool()[:, None, None], -1e9)
        found = adapted(input_ids=ids, attention_mask=attend, output_hidden_states=True)
    else:
        found = adapted(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    last, layers = found.last_hidden_state, torch.stack(found.hidden_states[1:], 1)  # [B, T, d], [B, L, T, d]
    if model == "1":
        return F.normalize(last[:, -1], dim=-1).numpy()
    keep = (ids != PAD).float()
    means = torch.einsum("bltd,bt->bld", layers, keep / keep.sum(1, keepdim=True))
    states = {"2": last[:, -1:], "3": layers[:, :, -1], "4": last, "5": means}[model]
    return pooled(torch.load(folder / "attn_pool.pt"), states).numpy()


def release(folder: Path, architecture: str, layers: int) -> Path:
    """A folder as the paper's code leaves it, in float32."""
    tiny.save_adapter(folder, tiny.model(architecture), seed=1)
    torch.manual_seed(2)
    pooler = CrossAttentionPooler(PoolerConfig(tiny.WIDTH, latents=5, heads=HEADS, head_dim=8, layers=layers))
    for parameter in pooler.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save({paper_name(name): tensor for name, tensor in pooler.state_dict().items()}, folder / "attn_pool.pt")
    return folder


@pytest.fixture(scope="module")
def backbones(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("backbones")
    return {name: str(tiny.save_backbone(root / name, name)) for name in ("llama", "mistral")}


def imported(folder: Path, backbone: str, name: str, **options) -> PooledEncoder:
    """The release as a variant, loaded on a backbone of its own."""
    import_release(folder / "release", backbone, name, folder / "mine", heads=HEADS, **options)
    return PooledEncoder.load(folder / "mine", Backbone.load(backbone, "cpu", "float32"), "mine")


# --------------------------------------------------------------------------------------------------------- the vectors


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_model_2_reads_one_token_as_released(tmp_path, backbones, architecture):
    release(tmp_path / "release", architecture, 0)
    mine = imported(tmp_path, backbones[architecture], "last-layer-causal")
    theirs = released(tmp_path / "release", "2", TEXTS, architecture)
    np.testing.assert_allclose(mine.encode(TEXTS), theirs, atol=1e-6)
    record = json.loads((tmp_path / "mine" / "variant.json").read_text())
    assert record["design"] == "last-layer-causal"
    assert record["reads"] == "last-token"
    ids, mask = mine.backbone.pad(mine.backbone.tokenize(TEXTS))
    with torch.inference_mode():
        states, ones = mine.backbone.states(ids, mask, attention="causal", read="last-token", adapter="mine")
    assert states.shape == (3, 1, tiny.WIDTH)
    assert ones.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_model_2_of_the_text_reads_all_tokens_when_asked_for(tmp_path, backbones, architecture):
    """The pooler on all tokens of a text alone, where no mask is needed; far from what the release computes."""
    release(tmp_path / "release", architecture, 0)
    mine = imported(tmp_path, backbones[architecture], "last-layer-causal", reads="all-tokens")
    assert json.loads((tmp_path / "mine" / "variant.json").read_text())["reads"] == "all-tokens"
    assert mine.design == DESIGNS["last-layer-causal"]
    tensors, vectors = torch.load(tmp_path / "release" / "attn_pool.pt"), mine.encode(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids, mask = mine.backbone.pad(mine.backbone.tokenize([text]))
        with torch.inference_mode():
            states, _ = mine.backbone.states(ids, mask, attention="causal", read="tokens", adapter="mine")
        np.testing.assert_allclose(vector, pooled(tensors, states)[0].numpy(), atol=1e-6)
    theirs = released(tmp_path / "release", "2", TEXTS, architecture)
    assert ((vectors * theirs).sum(1) < 0.99).all()


@pytest.mark.parametrize("model", ["1", "3", "5"])
def test_models_1_3_and_5_are_those_of_the_release_in_a_padded_batch(tmp_path, backbones, model):
    release(tmp_path / "release", "llama", 3)
    mine = imported(tmp_path, backbones["llama"], MODELS[model])
    np.testing.assert_allclose(mine.encode(TEXTS), released(tmp_path / "release", model, TEXTS, "llama"), atol=2e-6)
    record = json.loads((tmp_path / "mine" / "variant.json").read_text())
    assert "reads" not in record
    assert "note" not in record["training"]


def test_model_4_is_that_of_the_release_without_padding(tmp_path, backbones):
    """Its code masks none, so the shorter texts of a batch get other vectors than alone; ours do not."""
    release(tmp_path / "release", "llama", 0)
    mine = imported(tmp_path, backbones["llama"], MODELS["4"])
    alone = np.concatenate([released(tmp_path / "release", "4", [text], "llama") for text in TEXTS])
    np.testing.assert_allclose(mine.encode(TEXTS), alone, atol=1e-6)
    together = released(tmp_path / "release", "4", TEXTS, "llama")
    cosines = (alone * together).sum(1)
    assert cosines[1] == pytest.approx(1, abs=1e-6)  # the longest: no padding
    assert cosines[2] < 0.995  # the shortest: 26 of its 30 positions are padding
    record = json.loads((tmp_path / "mine" / "variant.json").read_text())
    assert record["reads"] == "all-tokens"
    assert record["training"]["note"] == NOTES["last-layer-bidirectional"]


@pytest.mark.parametrize("end", ["</s>", {"content": "</s>"}])
def test_model_5_says_where_its_means_leave_out_the_end_token(tmp_path, backbones, end):
    folder = release(tmp_path / "release", "llama", 3)
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>", "eos_token": end}))
    record = import_release(folder, backbones["llama"], MODELS["5"], tmp_path / "mine", heads=HEADS)
    assert record["training"]["note"] == PADS_WITH_END
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<unk>", "eos_token": end}))
    record = import_release(folder, backbones["llama"], MODELS["5"], tmp_path / "again", heads=HEADS)
    assert "note" not in record["training"]


def test_one_token_leaves_the_queries_without_effect(tmp_path, backbones):
    """A softmax over one element is 1: other W_q and LN_z give the same vectors, as in the release."""
    folder = release(tmp_path / "release", "llama", 0)
    before = imported(tmp_path, backbones["llama"], "last-layer-causal").encode(TEXTS)
    tensors = torch.load(folder / "attn_pool.pt")
    for name in ("fn.to_q.weight", "norm_context.weight", "norm_context.bias"):
        tensors[f"cross_attend_blocks.0.{name}"] *= -3
    torch.save(tensors, folder / "attn_pool.pt")
    (tmp_path / "mine").rename(tmp_path / "first")
    np.testing.assert_array_equal(imported(tmp_path, backbones["llama"], "last-layer-causal").encode(TEXTS), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_pooler_keeps_the_precision_of_its_file(tmp_path, backbones, dtype):
    folder = release(tmp_path / "release", "llama", 3)
    tensors = {name: tensor.to(dtype) for name, tensor in torch.load(folder / "attn_pool.pt").items()}
    torch.save(tensors, folder / "attn_pool.pt")
    import_release(folder, backbones["llama"], MODELS["3"], tmp_path / "mine", heads=HEADS)
    kept = load_file(tmp_path / "mine" / "pooler.safetensors")
    assert all(torch.equal(kept[name], tensors[paper_name(name)]) for name in kept)
    assert {tensor.dtype for tensor in kept.values()} == {dtype}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert"])
def test_the_one_token_is_the_end_token_on_either_side_of_padding(architecture, attention, side):
    backbone = tiny.backbone(architecture)
    ids, mask = tiny.batch([13, 20, 2], side=side)
    with torch.inference_mode():
        found, ones = backbone.states(ids, mask, attention=attention, read="last-token")
        every, _ = backbone.states(ids, mask, attention=attention, read="tokens")
    ends = [-1, -1, -1] if side == "left" else [12, 19, 1]
    assert torch.equal(found[:, 0], every[range(3), ends])
    assert ones.tolist() == [[1], [1], [1]]


# ------------------------------------------------------------------------------------------ identity, record, refusals


def test_what_is_read_is_part_of_identity_and_record(tmp_path, backbones):
    """Caches of vectors go by the key; a variant that is saved again reads what it read."""
    release(tmp_path / "release", "llama", 0)
    one = imported(tmp_path, backbones["llama"], "last-layer-causal")
    (tmp_path / "mine").rename(tmp_path / "one")
    every = imported(tmp_path, backbones["llama"], "last-layer-causal", reads="all-tokens")
    assert one.fingerprint != every.fingerprint
    assert one.key("query") != every.key("query")
    one.save(tmp_path / "saved")
    every.save(tmp_path / "every")
    assert json.loads((tmp_path / "saved" / "variant.json").read_text())["reads"] == "last-token"
    assert "reads" not in json.loads((tmp_path / "every" / "variant.json").read_text())
    again = PooledEncoder.load(tmp_path / "saved", Backbone.load(backbones["llama"], "cpu", "float32"), "again")
    assert again.fingerprint == one.fingerprint
    np.testing.assert_array_equal(again.encode(TEXTS), one.encode(TEXTS))


def test_the_shelf_says_what_is_read(tmp_path, home, backbones):
    release(tmp_path / "release", "llama", 0)
    for reads in ("last-token", "all-tokens"):
        where = tmp_path / "shelf" / "paper" / reads
        import_release(tmp_path / "release", backbones["llama"], "last-layer-causal", where, None, HEADS, None, reads)
    spoilt = tmp_path / "shelf" / "paper" / "spoilt"
    spoilt.mkdir()
    record = json.loads((where / "variant.json").read_text()) | {"reads": "two-tokens"}
    (spoilt / "variant.json").write_text(json.dumps(record))
    shelf = Shelf("cpu", "float32", checkpoints=[tmp_path / "shelf"])
    one, every = shelf.find("paper/last-token"), shelf.find("paper/all-tokens")
    assert "Reads one token, the end token's state in the last layer" in one.how
    assert "as the paper's released code does where its text has all tokens, causal attention." in one.how
    assert "Reads cross-attention over the tokens of the last layer, causal" in every.how
    assert (one.to_json()["design"], one.to_json()["reads"]) == ("last-layer-causal", "last-token")
    assert every.to_json()["reads"] == "all-tokens"
    assert "reads" not in shelf.find("minilm/eos-causal").to_json()
    assert fields(one)["design", "reads"] == "last-token"
    assert any("reads 'two-tokens'" in problem and "all-tokens, last-token" in problem for problem in shelf.problems)


def test_only_last_layer_poolers_have_the_choice(tmp_path, backbones):
    release(tmp_path / "release", "llama", 3)
    with pytest.raises(InputError, match="--reads is a choice of last-layer designs alone"):
        imported(tmp_path, backbones["llama"], "multi-layer-causal", reads="last-token")
    with pytest.raises(InputError, match="only a last-layer pooler can read the last token alone"):
        design("eos-causal", "last-token")
    with pytest.raises(InputError, match="reads 'some' of design 'x' is none of: all-tokens, last-token"):
        Design("x", "last-layer", "causal", reads="some")  # type: ignore[arg-type]
    assert not (tmp_path / "mine").exists()


def test_reads_on_the_command_line(tmp_path, backbones, capsys):
    release(tmp_path / "release", "llama", 0)
    words = [
        "import",
        "--adapter",
        str(tmp_path / "release"),
        "--backbone",
        backbones["llama"],
        "--heads",
        "4",
        "--json",
    ]
    words += ["--design", "last-layer-causal", "--output"]
    assert main([*words, str(tmp_path / "a")]) == 0
    assert json.loads(capsys.readouterr().out)["reads"] == "last-token"
    assert main([*words, str(tmp_path / "b"), "--reads", "all-tokens"]) == 0
    assert json.loads(capsys.readouterr().out)["reads"] == "all-tokens"
    with pytest.raises(SystemExit, match="2"):
        main([*words, str(tmp_path / "c"), "--reads", "some"])
    assert "all-tokens" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------- Layers


def test_layers_shows_one_weight_and_says_why(tmp_path, backbones):
    release(tmp_path / "release", "llama", 0)
    mine = imported(tmp_path, backbones["llama"], "last-layer-causal")
    found = read(mine, TEXTS[1])
    count = len(found.spelling.ids)
    assert found.over == "tokens"
    assert found.tokens.mean.tolist() == [0.0] * (count - 1) + [1.0]
    assert found.tokens.values.shape == (1, 1, count)
    assert not found.tokens.learned
    said = "This release reads one token, the end token: its weights are 1 by construction, for any text."
    assert found.tokens.sentence == said
    assert found.layers.mean.tolist() == [0, 0, 1]
    assert found.contributions is not None
    np.testing.assert_allclose(found.contributions.share, [0] * (count - 1) + [1], atol=1e-6)
    np.testing.assert_allclose(found.contributions.along, [0] * (count - 1) + [1], atol=1e-6)
    np.testing.assert_allclose(found.vector, mine.encode([TEXTS[1]])[0], atol=1e-6)
    assert found.steps[1].name == "state of the end token in the last layer"
    assert found.steps[1].shape == (1, tiny.WIDTH)
    (weights,) = [step for step in found.steps if step.name == "weights"]
    assert weights.note.startswith("over one state: every weight is 1")
    told = found.to_json()
    assert told["token_weights"] == {"learned": False, "sentence": said}
    assert len(told["tokens"]) == count
    assert said in words_on_text(found, "Text A")
    assert len(tokens_heatmap(found, "t", "s").data[0].z) == 1  # one row: there are no heads to tell apart
    assert len(contribution_bars(found, "t", "s").data) == 3


def test_layers_on_the_command_line(tmp_path, home, backbones, capsys):
    release(tmp_path / "release", "llama", 0)
    where = tmp_path / "shelf" / "paper" / "model2"
    import_release(tmp_path / "release", backbones["llama"], "last-layer-causal", where, heads=HEADS)
    (tmp_path / "texts.txt").write_text("a red cat\nthe green house\n")
    words = ["layers", "--variant", "paper/model2", "--checkpoints", str(tmp_path / "shelf"), "--device", "cpu"]
    words += ["--dtype", "float32"]
    assert main([*words, "--text", "a red cat"]) == 0
    out = capsys.readouterr().out
    assert "1.000  </s>  (end token)" in out
    assert "0.000  red" in out
    assert "its weights are 1 by construction" in out
    assert main([*words, "--corpus", str(tmp_path / "texts.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["median"] == [0, 0, 1]


# ---------------------------------------------------------------------------------------- where the pooler's file is


def moved(folder: Path) -> Path:
    """The release's pooler put where the paper's trainers write it: beside the folder, the names run together."""
    return (folder / "attn_pool.pt").rename(folder.with_name(f"{folder.name}attn_pool.pt"))


def test_the_pooler_beside_the_folder_is_found(tmp_path, backbones):
    folder = release(tmp_path / "checkpoint-100", "llama", 3)
    inside = import_release(folder, backbones["llama"], MODELS["3"], tmp_path / "a", heads=HEADS)
    assert inside["training"]["files"]["pooler"] == "checkpoint-100/attn_pool.pt"
    moved(folder)
    beside = import_release(folder, backbones["llama"], MODELS["3"], tmp_path / "b", heads=HEADS)
    assert beside["training"]["files"] == {
        "adapter": "checkpoint-100/adapter_model.safetensors",
        "pooler": "checkpoint-100attn_pool.pt",
    }
    assert beside["training"]["imported"] == inside["training"]["imported"]  # the same bytes
    assert "note" not in beside["training"]


def test_the_pooler_inside_the_folder_is_preferred_and_said(tmp_path, backbones):
    folder = release(tmp_path / "checkpoint-100", "llama", 3)
    (tmp_path / "checkpoint-100attn_pool.pt").write_bytes(b"no tensors")
    record = import_release(folder, backbones["llama"], MODELS["3"], tmp_path / "mine", heads=HEADS)
    assert record["training"]["files"]["pooler"] == "checkpoint-100/attn_pool.pt"
    assert "'checkpoint-100attn_pool.pt' beside the folder was not used" in record["training"]["note"]


def test_a_pooler_that_is_named_is_taken(tmp_path, backbones, capsys):
    folder = release(tmp_path / "checkpoint-100", "llama", 3)
    named = (folder / "attn_pool.pt").rename(tmp_path / "elsewhere.pt")
    (folder / "attn_pool.pt").write_bytes(b"no tensors")
    words = ["import", "--adapter", str(folder), "--backbone", backbones["llama"], "--heads", "4", "--json"]
    words += ["--design", "multi-layer-causal", "--output", str(tmp_path / "mine"), "--pooler"]
    assert main([*words, str(named)]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["files"]["pooler"] == "elsewhere.pt"


@pytest.mark.parametrize("trailing", ["", "/", "/."])
def test_no_pooler_names_both_places(tmp_path, monkeypatch, trailing):
    folder = tmp_path / "checkpoint-100"
    folder.mkdir()
    with pytest.raises(
        InputError, match=r"'attn_pool.pt' in the folder 'checkpoint-100' and no 'checkpoint-100attn_pool"
    ):
        find_pooler(Path(f"{folder}{trailing}"))
    (tmp_path / "checkpoint-100attn_pool.pt").touch()
    assert find_pooler(Path(f"{folder}{trailing}")).shown == "checkpoint-100attn_pool.pt"
    monkeypatch.chdir(folder)
    assert find_pooler(Path(".")).file == tmp_path / "checkpoint-100attn_pool.pt"
