"""Training: equal runs give equal losses, what is stopped goes on as if it had not been, and folders are whole."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import ROOT

from explorer import training_run
from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.designs import DESIGNS, MEANING, design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import Cancelled, InputError
from explorer.options import field_docs
from explorer.pooling import CrossAttentionPooler, PoolerConfig
from explorer.record import read_record
from explorer.training import STOP_FILE, Stop, checkpoints, commit, config_for, train
from explorer.training_config import TrainingConfig, add_training_options, given_options, portable
from explorer.training_model import ADAPTER, Collator, build, make_loss, sentence_transformer
from explorer.training_report import encode_queries
from explorer.training_run import Run
from explorer.variants import Variant

WORDS = ("red", "green", "blue", "cat", "dog", "tree", "house", "river")
WORDS += ("stone", "cloud", "bread", "milk", "iron", "gold", "song", "light")
TINY = {"heads": 2, "head_dim": 16, "latents": 4}


@pytest.fixture(autouse=True)
def _one_thread():
    """Matrices this small are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """Tiny backbones on disk."""
    root = tmp_path_factory.mktemp("backbones")
    return {name: str(tiny.save_backbone(root / name, name)) for name in ("bert", "qwen3")}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """48 pairs, every third with a negative more."""
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    made = []
    for i in range(48):
        a, b, c = (WORDS[(i * k + i // 16) % 16] for k in (1, 3, 5))
        made.append({"query": f"{a} {b} {i}", "positive": f"the {a} {b} and {c} number {i} " * (1 + i % 4)})
        if i % 3 == 0:
            made[-1]["negative"] = f"no {c} {i}"
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return str(file)


@pytest.fixture
def asked(folders, data):
    """A configuration that takes a second."""

    def configured(architecture: str = "bert", name: str = "multi-layer-bidirectional", **more) -> TrainingConfig:
        sizes = TINY if design(name).trainable_pooler else {}
        options = {
            **{"max_steps": 6, "batch_size": 6, "micro_batch": 6, "max_length": 24, "dtype": "float32"},
            **{"device": "cpu", "estimate_steps": 0, "eval_every": 3, "dev_share": 0.2, "save_every": 2},
            **sizes,
            **more,
        }
        return TrainingConfig(name, (data,), folders[architecture], **options)

    return configured


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "progress.jsonl").read_text().splitlines()]


def losses(output: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in lines(output) if "loss" in line}


def vectors(folder: Path, backbone: str) -> np.ndarray:
    encoder = PooledEncoder.load(folder, Backbone.load(backbone, "cpu", "float32"), "trained")
    return encoder.encode(["a red cat", "the green house by the river"])


# ---- configuration


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("design", "nope", "unknown design 'nope'; valid designs: eos-causal"),
        ("data", (), "no training data"),
        ("max_steps", 0, "max_steps must be at least 1"),
        ("batch_size", 1, "batch_size must be at least 2"),
        ("learning_rate", 0.0, "learning_rate must be a number above 0"),
        ("learning_rate", float("nan"), "must be a number"),
        ("schedule", "zigzag", "schedule 'zigzag' is none of: linear, cosine, constant"),
        ("pooler_init", "best", "none of: near-mean, near-last, random, paper"),
        ("dtype", "int8", "none of: auto, float32"),
        ("warmup", 1.0, "below 1"),
        ("seed", -1, "seed must be at least 0"),
        ("seed", True, "seed must be a whole number"),
        ("guide_weight", 0.5, "no guide"),
        ("patience", 2, "eval_every"),
        ("max_length", 3, "max_length must be at least 4"),
    ],
)
def test_configurations_are_checked_when_made(field, value, said):
    values = {"design": "mean-causal", "data": ("a.jsonl",), "eval_every": 0 if field == "patience" else 10}
    with pytest.raises(InputError, match=said):
        TrainingConfig(**(values | {field: value}))


def test_every_field_is_explained_and_is_an_option():
    parser = argparse.ArgumentParser()
    add_training_options(parser)
    options = {flag for action in parser._actions for flag in action.option_strings}
    for field in dataclasses.fields(TrainingConfig):
        assert len(field_docs(TrainingConfig)[field.name]) > 10
        assert "--" + field.name.replace("_", "-") in options
    assert given_options(parser.parse_args(["--seed", "3", "--no-gradient-checkpointing"])) == {
        "seed": 3,
        "gradient_checkpointing": False,
    }


def test_the_command_line_gives_the_configuration_back(asked):
    import shlex

    config = asked(query_prompt="-> ", gradient_checkpointing=True, columns=("query=a b",), learning_rate=1e-5)
    parser = argparse.ArgumentParser()
    add_training_options(parser)
    parser.add_argument("--output")
    words = shlex.split(config.command("DIR"))
    options = parser.parse_args(words[4:])
    assert TrainingConfig(**given_options(options)) == config
    assert str(Path(config.data[0]).parent) not in portable(config).command("DIR")


# ---- the module


def test_near_mean_is_nearly_the_mean_and_can_learn():
    torch.manual_seed(0)
    states, mask = torch.randn(5, 7, 32), torch.ones(5, 7)
    mask[0, 4:] = 0
    pooler = CrossAttentionPooler(PoolerConfig(32, latents=4, heads=2, head_dim=16))
    pooler.init_near_mean()
    mean = (torch.nn.functional.layer_norm(states, (32,)) * mask[..., None]).sum(1)
    found = pooler(states, mask)
    assert torch.nn.functional.cosine_similarity(found, mean, dim=-1).min() > 0.9
    (found[:, 0].sum() - found[:, 1].sum()).backward()
    for name, parameter in pooler.named_parameters():
        # W_2 is nearly zero, so what lies before it learns slowly at first, but learns.
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
    assert pooler.to_q.weight.grad.norm() > 1e-4
    assert pooler.to_kv.weight.grad.norm() > 1e-4


def test_near_mean_with_narrow_heads_is_a_projection():
    pooler = CrossAttentionPooler(PoolerConfig(32, latents=2, heads=1, head_dim=8))
    pooler.init_near_mean()
    product = pooler.to_out.weight @ pooler.to_kv.weight[8:]
    torch.testing.assert_close(product @ product, product)


def test_near_last_starts_on_the_last_layer():
    torch.manual_seed(0)
    common = torch.randn(6, 32) * 3  # every layer has its place, as in real models
    states = common + torch.randn(20, 6, 32) * 0.5
    pooler = CrossAttentionPooler(PoolerConfig(32, latents=4, heads=2, head_dim=16, layers=6))
    pooler.init_near_mean(sample=states[:8])
    _, weights = pooler(states[8:], return_weights=True)
    shares = weights.mean((0, 1, 2))
    assert shares[-1] > 0.6
    assert shares[:-1].max() < 0.15


@pytest.mark.parametrize(
    ("init", "place", "spread"),
    [
        ("near-mean", "after-norm", 0.3),
        ("near-last", "after-norm", 0.3),
        ("random", "after-norm", 0.3),
        ("paper", "before-norm", 1.0),
    ],
)
def test_the_layer_matrix_is_added_after_the_norm_but_for_the_papers_start(asked, tmp_path, init, place, spread):
    config = asked("qwen3", pooler_init=init)
    backbone = Backbone.load(config.backbone, "cpu", "float32")
    module = build(config, backbone)
    assert module.pooler.config.layer_matrix_added == place
    assert module.pooler.layer_matrix[:-1].std().item() == pytest.approx(spread, rel=0.3)
    ids, mask = backbone.pad(backbone.tokenize(["a red cat"], 24))
    module({"input_ids": ids, "attention_mask": mask})["sentence_embedding"][0, 0].backward()
    assert module.pooler.layer_matrix.grad.abs().max() > 0
    encoder = PooledEncoder("trained", backbone, config.chosen, module.pooler, TextSettings(24), ADAPTER)
    encoder.save(tmp_path / "saved")
    assert read_record(tmp_path / "saved")["pooler"]["layer_matrix_added"] == place
    again = PooledEncoder.load(tmp_path / "saved", Backbone.load(config.backbone, "cpu", "float32"), "again")
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode(["a red cat"]), encoder.encode(["a red cat"]))


def test_a_last_layer_pooler_has_no_layer_matrix_to_place(asked):
    config = asked(name="last-layer-bidirectional")
    module = build(config, Backbone.load(config.backbone, "cpu", "float32"))
    assert (module.pooler.layer_matrix, module.pooler.config.layer_matrix_added) == (None, "before-norm")


@pytest.mark.parametrize("architecture", ["bert", "qwen3"])
@pytest.mark.parametrize("name", list(DESIGNS))
def test_trained_vectors_are_those_that_are_served(asked, architecture, name):
    config = asked(architecture, name)
    backbone = Backbone.load(config.backbone, "cpu", "float32")
    module = build(config, backbone)
    texts = ["a red cat", "the green house by the river and its stone", "x"]
    ids, mask = backbone.pad(backbone.tokenize(texts, 24))
    found = module({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
    served = PooledEncoder("served", backbone, config.chosen, module.pooler, TextSettings(24), ADAPTER).encode(texts)
    np.testing.assert_allclose(found.detach().numpy(), served, atol=1e-5)
    trained = list(module.trained())
    assert any("lora_A" in n for n in trained)
    assert any(n.startswith("pooler.") for n in trained) == config.chosen.trainable_pooler
    assert all("lora" in n or n.startswith("pooler.") for n in trained)


@pytest.mark.parametrize("name", ["multi-layer-causal", "multi-layer-bidirectional", "mean-bidirectional"])
@pytest.mark.parametrize("architecture", ["bert", "qwen3"])
def test_gradient_checkpointing_and_gradcache_keep_the_gradient(asked, data, architecture, name):
    """Also where the activations are computed again after `is_causal` was put back, with and without padding."""

    def gradient(checkpointing: bool, micro_batch: int) -> dict[str, torch.Tensor]:
        config = asked(architecture, name, gradient_checkpointing=checkpointing, lora_dropout=0.0)
        backbone = Backbone.load(config.backbone, "cpu", "float32")
        module = build(config, backbone)
        for parameter_name, parameter in module.trained().items():
            if "lora_B" in parameter_name:  # zero at first, which would hide the adapter's gradient
                torch.nn.init.normal_(parameter, std=0.1)
        model = sentence_transformer(module).train()
        pairs = training_run.read_pairs((data,)).pairs[1:5]
        batch = Collator(backbone, TextSettings(24))(pairs)
        columns = [
            {"input_ids": batch[f"{c}_input_ids"], "attention_mask": batch[f"{c}_attention_mask"]}
            for c in ("query", "positive")
        ]
        make_loss(model, config, 4, micro_batch, 1)(columns, None).backward()
        return {n: p.grad for n, p in module.trained().items()}

    plain = gradient(False, 4)
    for other in (gradient(True, 4), gradient(False, 2), gradient(True, 2)):
        for parameter_name, wanted in plain.items():
            scale = wanted.abs().max().clamp(min=1e-6)
            torch.testing.assert_close(other[parameter_name] / scale, wanted / scale, atol=2e-3, rtol=0)


def test_columns_of_a_batch(asked):
    backbone = tiny.backbone("bert")
    pairs = [training_run.Pair("q", "p", ("n", "m")), training_run.Pair("r", "s", ("o",))]
    batch = Collator(backbone, TextSettings(24, "ask: ", "doc: "))(pairs)
    assert sorted({key.partition("_input_ids")[0] for key in batch if key.endswith("input_ids")}) == [
        "negative_1",
        "positive",
        "query",
    ]
    assert batch["query_input_ids"][0].tolist() == backbone.tokenize(["ask: q"])[0]
    assert batch["positive_input_ids"][1].tolist() == backbone.tokenize(["doc: s"])[0]


def test_an_instruction_stands_directly_before_its_query(asked):
    """In place of the query prompt, with nothing between; the other texts are as they were."""
    backbone = tiny.backbone("bert")
    pairs = [training_run.Pair("q", "p", ("n",), 0, "Find it.\n"), training_run.Pair("r", "s", ("o",))]
    for tokens in ("all", "text"):
        batch = Collator(backbone, TextSettings(24, "ask: ", "doc: ", tokens))(pairs)
        for row, text in enumerate(("Find it.\nq", "ask: r")):
            ids = backbone.tokenize([text])[0]
            assert batch["query_input_ids"][row][: len(ids)].tolist() == ids
        assert batch["positive_input_ids"][0].tolist() == backbone.tokenize(["doc: p"])[0]
    # [CLS] and a token a letter (the tests' tokenizer), up to the query's own
    assert batch["query_prompt_length"].tolist() == [len("Find it.\n") + 1, len("ask: ") + 1]


def test_held_out_queries_have_their_instructions(asked):
    encoder = PooledEncoder.untrained(
        tiny.backbone("bert"), design("mean-bidirectional"), texts=TextSettings(24, "a: ")
    )
    pairs = [training_run.Pair("q", "p", (), 0, i) for i in ("", "Find it. ", "a: ", "")]
    found = encode_queries(encoder, pairs)
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    np.testing.assert_allclose(found[1], encoder.encode(["Find it. q"], "document")[0], atol=1e-6)
    np.testing.assert_allclose(found[3], encoder.encode(["q"], "query")[0], atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert encoder.texts.query_prompt == "a: "


@pytest.fixture
def instructed(asked, data, tmp_path) -> TrainingConfig:
    """Two sources, of which one has an instruction."""
    other = tmp_path / "other.jsonl"
    other.write_text(Path(data).read_text(encoding="utf-8").replace("red", "pink").replace("number", "no."))
    file = tmp_path / "instructions.json"
    file.write_text(json.dumps({"other.jsonl": "Find the other:\n"}), encoding="utf-8")
    return dataclasses.replace(
        asked(name="mean-bidirectional"), data=(data, str(other)), query_instructions=str(file), query_prompt="query: "
    )


def test_a_variant_remembers_its_instructions(instructed, tmp_path):
    train(instructed, tmp_path / "a")
    record = read_record(tmp_path / "a")
    assert record["texts"]["query_prompt"] == "query: "
    assert record["texts"]["instruction_template"] == "{instruction}"
    assert [source.get("instructions") for source in record["training"]["data"]] == [None, ["Find the other:\n"]]
    assert record["training"]["config"]["query_instructions"] == "instructions.json"
    assert str(tmp_path) not in json.dumps(record["training"]["command"])
    card = (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert '- other.jsonl: `"Find the other:\\n"`' in card
    assert 'Other queries had `"query: "`.' in card
    train(dataclasses.replace(instructed, query_instructions=""), tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "b")
    assert "Before the queries" not in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert read_record(tmp_path / "b")["texts"]["instruction_template"] == ""


def test_one_instruction_for_all_is_the_query_prompt(asked, data, tmp_path):
    file = tmp_path / "one.json"
    file.write_text(json.dumps({Path(data).name: "Instruct: Find it\nQuery: "}), encoding="utf-8")
    config = asked(name="mean-bidirectional", max_length=60)
    train(dataclasses.replace(config, query_instructions=str(file)), tmp_path / "a")
    texts = read_record(tmp_path / "a")["texts"]
    assert texts["query_prompt"] == "Instruct: Find it\nQuery: "
    assert texts["instruction_template"] == "Instruct: {instruction}\nQuery: "
    train(dataclasses.replace(config, query_prompt="Instruct: Find it\nQuery: "), tmp_path / "b")
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    with pytest.raises(InputError, match="leaves no room for a text"):
        train(dataclasses.replace(config, query_instructions=str(file), max_length=24), tmp_path / "c")


def test_training_with_instructions_goes_on_as_if_it_had_not_stopped(instructed, tmp_path, monkeypatch):
    train(instructed, tmp_path / "whole")
    output = tmp_path / "stopped"
    _stop_after(monkeypatch, output, 3)
    assert train(instructed, output).stopped
    monkeypatch.undo()
    file = Path(instructed.query_instructions)
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("Find", "Seek"), encoding="utf-8")
    with pytest.raises(InputError, match="the training data changed"):
        train(config_for(output, {}, resume=True), output, resume=True)
    file.write_text(before, encoding="utf-8")
    train(config_for(output, {}, resume=True), output, resume=True)
    assert losses(output) == losses(tmp_path / "whole")
    np.testing.assert_array_equal(
        vectors(output, instructed.backbone), vectors(tmp_path / "whole", instructed.backbone)
    )
    assert lines(output)[-1]["dev"] == lines(tmp_path / "whole")[-1]["dev"]


@pytest.mark.parametrize("tokens", ["all", "without-first", "text"])
@pytest.mark.parametrize(("architecture", "name"), [("qwen3", "mean-causal"), ("bert", "multi-layer-bidirectional")])
def test_a_mean_is_over_the_same_tokens_in_training_and_serving(asked, data, architecture, name, tokens):
    """Whole batches and micro-batches of GradCache, with prompts; queries and documents."""
    prompts = {"query_prompt": "ask: ", "document_prompt": "text: "}
    config = asked(architecture, name, tokens=tokens, lora_dropout=0.0, **prompts)
    backbone = Backbone.load(config.backbone, "cpu", "float32")
    module = build(config, backbone)
    texts = TextSettings(24, "ask: ", "text: ", tokens)
    served = PooledEncoder("served", backbone, config.chosen, module.pooler, texts, ADAPTER)
    pairs = training_run.read_pairs((data,)).pairs[1:5]
    batch = Collator(backbone, texts)(pairs)
    for kind, column, wanted in (
        ("query", "query", [pair.query for pair in pairs]),
        ("document", "positive", [pair.positive for pair in pairs]),
    ):
        features = {
            key.removeprefix(f"{column}_"): value for key, value in batch.items() if key.startswith(f"{column}_")
        }
        assert ("prompt_length" in features) == (tokens == "text")
        with torch.no_grad():
            trained = module.eval()(features)["sentence_embedding"].numpy()
        np.testing.assert_allclose(trained, served.encode(wanted, kind), atol=1e-5)


@pytest.mark.parametrize("tokens", ["without-first", "text"])
def test_a_trained_variant_remembers_its_tokens(asked, tmp_path, tokens):
    config = asked("qwen3", "mean-causal", tokens=tokens, query_prompt="ask: ", document_prompt="text: ", micro_batch=3)
    train(config, tmp_path / "made")
    record = read_record(tmp_path / "made")
    assert record["texts"]["tokens"] == record["training"]["config"]["tokens"] == tokens
    loaded = PooledEncoder.load(tmp_path / "made", Backbone.load(config.backbone, "cpu", "float32"), "made")
    assert loaded.texts.tokens == tokens
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert f"A mean is taken over {MEANING[tokens]}." in card
    variant = Variant("mine/made", "checkpoint", design("mean-causal"), config.backbone, tmp_path / "made", record)
    assert f"the mean of the last layer's states of {MEANING[tokens]}" in variant.how
    assert variant.to_json()["tokens"] == tokens


# ---- equal runs


def test_equal_configurations_give_equal_losses(asked, tmp_path):
    config = asked()
    first = train(config, tmp_path / "a")
    second = train(config, tmp_path / "b")
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert len(losses(tmp_path / "a")) == 6
    assert first.dev == second.dev
    np.testing.assert_array_equal(vectors(tmp_path / "a", config.backbone), vectors(tmp_path / "b", config.backbone))
    train(dataclasses.replace(config, seed=1), tmp_path / "c")
    assert losses(tmp_path / "c") != losses(tmp_path / "a")


def test_all_designs_see_the_same_batches_and_the_same_adapter(asked, tmp_path):
    runs = [
        Run(asked(name=name), tmp_path / name, Stop(tmp_path / name)) for name in ("mean-causal", "multi-layer-causal")
    ]
    assert runs[0].plan == runs[1].plan
    assert [p.texts for p in runs[0].data.pairs] == [p.texts for p in runs[1].data.pairs]
    adapters = [{n: p for n, p in run.module.trained().items() if "lora_A" in n} for run in runs]
    for name, parameter in adapters[0].items():
        torch.testing.assert_close(parameter, adapters[1][name], atol=0, rtol=0)


def test_gradcache_and_checkpointing_give_the_same_losses(asked, tmp_path):
    train(asked(lora_dropout=0.0), tmp_path / "a")
    train(asked(lora_dropout=0.0, micro_batch=2, gradient_checkpointing=True), tmp_path / "b")
    a, b = losses(tmp_path / "a"), losses(tmp_path / "b")
    assert [a[i] for i in a] == pytest.approx([b[i] for i in b], abs=1e-4)


def test_two_processes_train_as_one(asked, tmp_path):
    """torchrun with gloo: the same global batches, so the same losses and weights."""
    config = asked(lora_dropout=0.0, max_steps=4)
    train(config, tmp_path / "one")
    command = config.command(str(tmp_path / "two")).split(" ")[1:]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", *command, "--json"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [two[step] for step in one] == pytest.approx(list(one.values()), abs=1e-4)
    assert len(lines(tmp_path / "two")) == len(lines(tmp_path / "one"))  # one process writes
    assert read_record(tmp_path / "two")["training"]["processes"] == 2
    a, b = (vectors(tmp_path / name, config.backbone) for name in ("one", "two"))
    assert (a * b).sum(1).min() > 0.999


# ---- what is written


def test_a_finished_run_is_a_whole_variant(asked, tmp_path):
    output, about, scored = tmp_path / "mine", tmp_path / "DATA.md", tmp_path / "sts.csv"
    about.write_text("Written by nobody, CC0.", encoding="utf-8")
    scored.write_text("sentence1,sentence2,score\na red cat,the red cat,5\na cat,the house,1\na dog,by the river,0\n")
    config = asked(estimate_steps=1, data_card=str(about), dev_sts=str(scored))
    result = train(config, output)
    assert sorted(p.name for p in output.iterdir()) == [
        "README.md",
        "adapter",
        "pooler.safetensors",
        "progress.jsonl",
        "variant.json",
    ]
    record = read_record(output)
    training = record["training"]
    assert record["design"] == config.design
    assert record["parameters"] == result.parameters
    assert record["scores"] == {}
    assert training["config"]["max_steps"] == 6
    assert [step for step, _ in training["curve"]] == [1, 2, 3, 4, 5, 6]
    assert [d["step"] for d in training["dev"]] == [0, 3, 6]
    assert all(-1 <= d["spearman"] <= 1 for d in training["dev"])
    assert training["data"][0]["pairs"] == 48
    assert len(training["data"][0]["sha256"]) == 64
    assert training["versions"]["torch"] == torch.__version__
    assert str(tmp_path) not in json.dumps(training)
    card = (output / "README.md").read_text()
    assert "pairs.jsonl" in card
    assert "Written by nobody, CC0." in card
    assert "--data-card DATA.md" in card
    from safetensors.torch import load_file

    for file in (output / "pooler.safetensors", output / "adapter" / "adapter_model.safetensors"):
        assert {t.dtype for t in load_file(file).values()} == {torch.float16}
    encoder = PooledEncoder.load(output, Backbone.load(config.backbone, "cpu", "float32"), "x")
    assert {p.dtype for p in encoder.pooler.parameters()} == {torch.float32}
    assert encoder.texts.max_length == 24


def test_progress_tells_what_is_going_on(asked, tmp_path):
    train(asked(estimate_steps=1, pooler_learning_rate=1e-3), tmp_path / "a")
    told = lines(tmp_path / "a")
    assert set(told[0]["estimate"]) >= {"seconds", "seconds_per_step", "memory_bytes", "parameters"}
    assert (told[1]["step"], told[1]["steps"]) == (0, 6)
    step = told[4]
    assert step["step"] == 3
    assert set(step) >= {"loss", "learning_rate", "pooler_learning_rate", "grad_norm", "seconds", "seconds_left", "dev"}
    assert step["pooler_learning_rate"] == pytest.approx(5 * step["learning_rate"])
    assert 0 <= step["dev"]["ndcg@10"] <= 1
    assert len(step["layer_weights"]) == 3
    assert sum(step["layer_weights"]) == pytest.approx(1, abs=1e-3)
    assert "dev" not in told[2]


def test_training_lowers_the_loss(asked, tmp_path):
    train(asked(max_steps=40, eval_every=0, learning_rate=1e-3, pooler_learning_rate=3e-3), tmp_path / "a")
    found = list(losses(tmp_path / "a").values())
    assert np.mean(found[-8:]) < 0.7 * np.mean(found[:8])


def test_the_pooler_has_its_own_learning_rate(asked, tmp_path):
    run = Run(asked(pooler_learning_rate=1e-3), tmp_path / "a", Stop(tmp_path / "a"))
    optimizer = run.trainer.create_optimizer()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in run.module.trained().items():
        assert rates[id(parameter)] == (1e-3 if name.startswith("pooler.") else 2e-4)
    assert len(rates) == len(run.module.trained())


def test_an_estimate_leaves_nothing_behind(asked, tmp_path):
    found = train(asked(estimate_steps=2), tmp_path / "a", estimate_only=True)
    assert found["seconds"] > 0
    assert found["memory_bytes"] > 2**20
    assert not (tmp_path / "a").exists()


def test_estimating_changes_no_loss(asked, tmp_path):
    train(asked(), tmp_path / "a")
    train(asked(estimate_steps=2), tmp_path / "b")
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_memory_that_runs_out_halves_the_micro_batch(asked, tmp_path, monkeypatch, capsys):
    train(asked(lora_dropout=0.0), tmp_path / "a")
    real = make_loss

    def greedy(model, config, rows, micro_batch, processes):
        loss = real(model, config, rows, micro_batch, processes)
        if micro_batch > 2:
            monkeypatch.setattr(loss, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no memory")))
        return loss

    monkeypatch.setattr(training_run, "make_loss", greedy)
    train(asked(lora_dropout=0.0), tmp_path / "b")
    assert "out of memory: going on with 2 pairs at once; a step is still 6 pairs" in capsys.readouterr().err
    assert read_record(tmp_path / "b")["training"]["micro_batch"] == 2
    a, b = losses(tmp_path / "a"), losses(tmp_path / "b")
    assert list(b.values()) == pytest.approx(list(a.values()), abs=1e-4)


def test_no_memory_at_all_is_said(asked, tmp_path, monkeypatch):
    def hopeless(self, model, inputs, **_):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(training_run.VariantTrainer, "compute_loss", hopeless)
    with pytest.raises(InputError, match="memory ran out with 1 pairs"):
        train(asked(), tmp_path / "a")


def test_a_loss_that_is_no_number_ends_the_run(asked, tmp_path, monkeypatch):
    real = training_run.VariantTrainer.compute_loss
    monkeypatch.setattr(training_run.VariantTrainer, "compute_loss", lambda *a, **k: real(*a, **k) * float("nan"))
    with pytest.raises(InputError, match="the loss is nan at step 1"):
        train(asked(), tmp_path / "a")
    assert not (tmp_path / "a" / "variant.json").exists()


def test_patience_keeps_the_best_weights(asked, tmp_path, monkeypatch):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr(training_run, "dev_scores", lambda *_: {"ndcg@10": next(scores), "mrr@10": 0.0})
    kept = {}
    real = training_run.VariantTrainer.trained

    def trained(self):
        return kept.setdefault(self.state.global_step, real(self))

    monkeypatch.setattr(training_run.VariantTrainer, "trained", trained)
    config = asked(max_steps=30, eval_every=2, save_every=0, patience=2)
    result = train(config, tmp_path / "a")
    assert result.steps == 7  # best at step 2, not beaten at 4 and 6
    assert not result.stopped
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "a" / "pooler.safetensors")
    torch.testing.assert_close(saved["latents"], kept[2]["pooler.latents"].half())


# ---- stopping, resuming, killing


@pytest.mark.parametrize("name", ["multi-layer-bidirectional", "mean-causal"])
def test_what_is_stopped_goes_on_as_if_it_had_not_been(asked, tmp_path, monkeypatch, name):
    config = asked(name=name, max_steps=8, save_every=3)
    train(config, tmp_path / "whole")
    output = tmp_path / "stopped"
    _stop_after(monkeypatch, output, 4)
    result = train(config, output)
    assert (result.stopped, result.steps) == (True, 4)
    assert [p.name for p in checkpoints(output)] == ["checkpoint-4"]
    assert read_record(output)["training"]["stopped"] is True
    assert vectors(output, config.backbone).shape == (2, 32)  # usable as it is
    monkeypatch.undo()
    resumed = config_for(output, {}, resume=True)
    assert resumed == config
    result = train(resumed, output, resume=True)
    assert (result.stopped, result.steps) == (False, 8)
    assert losses(output) == losses(tmp_path / "whole")
    np.testing.assert_array_equal(vectors(output, config.backbone), vectors(tmp_path / "whole", config.backbone))
    assert read_record(output)["training"]["curve"] == read_record(tmp_path / "whole")["training"]["curve"]
    assert not checkpoints(output)
    assert train(resumed, output, resume=True).steps == 8  # done is done


def _stop_after(monkeypatch, output: Path, step: int) -> None:
    """Put the stop file there as soon as that step is made."""
    real = training_run.Follower.on_step_end

    def on_step_end(self, args, state, control, **more):
        if state.global_step == step:
            (output / STOP_FILE).touch()
        return real(self, args, state, control, **more)

    monkeypatch.setattr(training_run.Follower, "on_step_end", on_step_end)


def test_a_signal_stops_after_the_step(asked, tmp_path):
    real = training_run.Follower.on_step_end
    output = tmp_path / "a"

    def on_step_end(self, args, state, control, **more):
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, args, state, control, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run.Follower, "on_step_end", on_step_end)
        result = train(asked(), output)
    assert (result.stopped, result.steps) == (True, 2)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_before_the_first_step_leaves_no_variant(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "build", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Cancelled):
        train(asked(), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_training_in_a_thread(asked, tmp_path):
    """No signal handlers there; the stop file works."""
    found = []
    thread = threading.Thread(target=lambda: found.append(train(asked(max_steps=2), tmp_path / "a")))
    thread.start()
    thread.join()
    assert found[0].steps == 2


def test_a_resumed_run_keeps_its_configuration(asked, tmp_path, monkeypatch, data):
    output = tmp_path / "a"
    _stop_after(monkeypatch, output, 2)
    train(asked(), output)
    with pytest.raises(InputError, match="has seed 0, not 5"):
        config_for(output, {"seed": 5}, resume=True)
    assert config_for(output, {"micro_batch": 3}, resume=True).micro_batch == 3
    with pytest.raises(InputError, match="add --resume"):
        config_for(output, {"design": "mean-causal", "data": (data,)}, resume=False)


def test_resuming_what_never_began_begins(asked, tmp_path):
    output = tmp_path / "a"
    given = dataclasses.asdict(asked(max_steps=2))
    result = train(config_for(output, given, resume=True), output, resume=True)
    assert result.steps == 2


def test_a_batch_larger_than_the_data_is_cut_and_resumed(asked, tmp_path, monkeypatch, capsys):
    config = asked(batch_size=500)
    _stop_after(monkeypatch, tmp_path / "a", 2)
    train(config, tmp_path / "a")
    assert "batch_size is 39" in capsys.readouterr().err
    monkeypatch.undo()
    assert config_for(tmp_path / "a", {"batch_size": 500}, resume=True) == config
    assert train(config, tmp_path / "a", resume=True).steps == 6


def test_changed_data_is_not_resumed(asked, tmp_path, monkeypatch, data):
    changed = tmp_path / "pairs.jsonl"
    changed.write_text(Path(data).read_text())
    config = dataclasses.replace(asked(), data=(str(changed),))
    _stop_after(monkeypatch, tmp_path / "a", 2)
    train(config, tmp_path / "a")
    changed.write_text(Path(data).read_text().replace("red", "pink"))
    with pytest.raises(InputError, match="the training data changed"):
        train(config, tmp_path / "a", resume=True)


def test_the_variant_is_marked_by_its_last_file(tmp_path):
    """Killed anywhere in `commit`, the folder has no variant.json or is whole."""
    new, output = tmp_path / "new", tmp_path / "out"
    for folder, text in ((new, "new"), (output, "old")):
        (folder / "adapter").mkdir(parents=True)
        for name in ("adapter/a", "pooler.safetensors", "README.md", "variant.json"):
            (folder / name).write_text(text)
    seen = []
    real = os.replace

    def watched(source, target):
        seen.append((output / "variant.json").exists())
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watched)
        commit(new, output)
    assert seen == [False] * 4
    assert {p.read_text() for p in output.rglob("*") if p.is_file()} == {"new"}
    assert not new.exists()


def test_killed_runs_resume_and_end_alike(asked, tmp_path):
    """kill -9 in the middle of a step and while a checkpoint is written; torture_training.py does it fifty times."""
    config = asked(max_steps=12, save_every=1, eval_every=0)
    train(config, tmp_path / "whole")
    output = tmp_path / "killed"
    for moment in (_when_saving, _when_at_step(5)):
        process = subprocess.Popen(
            [sys.executable, *config.command(str(output)).split(" ")[1:], "--resume"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # as here, for sums in the same order
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        while process.poll() is None and not moment(output):
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL  # it was still at work
        assert not (output / "variant.json").exists() or vectors(output, config.backbone).shape == (2, 32)
    train(config_for(output, {}, resume=True), output, resume=True)
    assert losses(output) == losses(tmp_path / "whole")
    np.testing.assert_array_equal(vectors(output, config.backbone), vectors(tmp_path / "whole", config.backbone))
    assert not list(output.glob(".*"))


def _when_saving(output: Path) -> bool:
    return any(output.glob(".checkpoint.tmp/*"))


def _when_at_step(step: int):
    def reached(output: Path) -> bool:
        file = output / "progress.jsonl"
        return file.exists() and f'"step": {step},' in file.read_text()

    return reached


# ---- guide and mined negatives


class FakeGuide:
    """Vectors that depend on the text alone."""

    def __init__(self, dimension: int) -> None:
        self.dimension, self.encoded = dimension, 0

    def key(self, kind: str) -> str:
        return f"fake {self.dimension} {kind}"

    def encode(self, texts, kind="document", **_) -> np.ndarray:
        self.encoded += len(texts)
        made = np.stack([np.random.default_rng(len(t) * 1000 + ord(t[-2])).normal(size=self.dimension) for t in texts])
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_a_guide_draws_the_vectors_to_its_own(asked, tmp_path, monkeypatch, home):
    guide = FakeGuide(32)
    monkeypatch.setattr(training_run, "load_guide", lambda *_: guide)
    more = {"eval_every": 0, "max_steps": 25, "learning_rate": 1e-3, "pooler_learning_rate": 5e-3}
    config = asked(guide="any", guide_weight=5.0, **more)
    train(config, tmp_path / "a")
    texts = ["the red cat and iron number 7 ", "the dog cloud and gold number 31 "]
    encoder = PooledEncoder.load(tmp_path / "a", Backbone.load(config.backbone, "cpu", "float32"), "x")
    found = list(losses(tmp_path / "a").values())
    assert np.mean(found[-5:]) < np.mean(found[:5])
    assert encoder.encode(texts).shape == (2, 32)
    encoded = guide.encoded
    train(dataclasses.replace(config, micro_batch=2), tmp_path / "b")
    assert guide.encoded == encoded  # from the cache
    assert losses(tmp_path / "b")[1] == pytest.approx(losses(tmp_path / "a")[1], abs=1e-4)


def test_a_guide_of_another_width_is_turned_onto_its_main_directions(asked, tmp_path, monkeypatch, capsys):
    plane = np.random.default_rng(0).normal(size=(9, 2)) @ np.random.default_rng(1).normal(size=(2, 6))
    (first, second), kept = training_run.to_width([plane[:4], plane[4:]], 3)
    assert (first.shape, second.shape, kept) == ((4, 3), (5, 3), pytest.approx(1.0))
    np.testing.assert_allclose(np.concatenate([first, second]) @ first.T, plane @ plane[:4].T, atol=1e-5)
    (wider,), kept = training_run.to_width([plane], 8)
    assert wider.shape == (9, 8)
    assert kept == pytest.approx(1.0)
    np.testing.assert_allclose(wider @ wider.T, plane @ plane.T, atol=1e-5)

    monkeypatch.setattr(training_run, "load_guide", lambda *_: FakeGuide(48))
    train(asked(guide="any", guide_weight=1.0), tmp_path / "a")
    assert "the guide's 48 dimensions become 32" in capsys.readouterr().err


def test_hard_negatives_are_mined(asked, tmp_path):
    run = Run(asked(hard_negatives=2, negatives=0), tmp_path / "a", Stop(tmp_path / "a"))
    with_negatives = [pair for pair in run.data.pairs if pair.negatives]
    assert len(with_negatives) > 10
    positives = {pair.positive for pair in training_run.read_pairs(run.config.data).pairs}
    for pair in with_negatives:
        assert pair.positive not in pair.negatives
        assert set(pair.negatives) <= positives
        assert len(pair.negatives) == 2


# ---- command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--design", "mean-causal"], "--data is missing"),
        (["--data", "a.jsonl"], "--design is missing"),
        (["--design", "nope", "--data", "a.jsonl"], "unknown design 'nope'"),
        (["--design", "mean-causal", "--data", "nowhere.jsonl"], "there is no training file 'nowhere.jsonl'"),
        (["--design", "mean-causal", "--data", "a.jsonl", "--latents", "3"], "there is no training file"),
        (["--design", "mean-causal", "--data", "a.jsonl", "--max-steps", "0"], "max_steps must be at least 1"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, said):
    assert main(["train", *arguments, "--output", str(tmp_path / "out"), "--device", "cpu"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_bad_sizes_leave_no_folder(asked, tmp_path):
    with pytest.raises(InputError, match="mean-causal has no trainable pooler, so latents"):
        train(asked(name="mean-causal", latents=4), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_output_may_not_be_a_file(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="is a file"):
        config_for(tmp_path / "a", {}, resume=False)


def test_a_full_disk_is_said_before_the_start(asked, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: argparse.Namespace(free=1000))
    with pytest.raises(InputError, match="MiB free, training needs"):
        train(asked(), tmp_path / "a")


def test_train_json(asked, tmp_path, capsys):
    config = asked(max_steps=2)
    assert main([*config.command(str(tmp_path / "a")).split(" ")[3:], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["steps"] == 2
    assert document["stopped"] is False
    assert document["variant"] == str(tmp_path / "a")
