"""Pretraining of a causal language model: text and packing by hand, then the real thing, tiny."""

from __future__ import annotations

import json
import lzma
import math

import numpy as np
import pytest
import torch

from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.designs import LM
from explorer.errors import InputError
from explorer.hub import resolve
from explorer.pretraining import run as pretraining
from explorer.pretraining.config import PretrainingConfig
from explorer.pretraining.perplexity import measure
from explorer.pretraining.text import END, is_held_out, pack, read_passages, split, train_tokenizer
from explorer.training import checkpoints
from explorer.variants import Shelf

WORDS = "the a cat dog river stone reads writes sees under over quickly slowly and then because every small old".split()
SIZES = "--layers 2 --width 32 --heads 2 --head-dim 16 --ffn 48 --vocabulary 320 --context 32".split()
SIZES += "--batch-size 8 --micro-batch 4 --held-out 0.1 --dtype float32 --device cpu --threads 1".split()


def sentences(count: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 24)) + f" {i}." for i in range(count)]


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before():
    """One thread is quickest for models this small; the tests that follow get back what they had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "plain.txt.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("\n\n".join(sentences(300)) + "\n")
    return path


@pytest.fixture(scope="module")
def pretrained(text, tmp_path_factory):
    """A finished run, stopped once on its way and resumed."""
    output = tmp_path_factory.mktemp("pretrained") / "lm"
    asked = ["pretrain", "--text", str(text), *SIZES, "--tokens", "12000", "--learning-rate", "3e-3"]
    about = text.parent / "DATA.md"
    about.write_text("Sentences drawn at random, in the public domain.\n", encoding="utf-8")
    asked += ["--data-card", str(about), "--output", str(output)]
    patch = pytest.MonkeyPatch()
    patch.setattr(pretraining.Clock, "on_step_begin", stopping(20))
    assert main(asked) == 0
    patch.undo()
    seen = {"checkpoints": [p.name for p in checkpoints(output)], "finished": (output / "config.json").exists()}
    assert main([*asked, "--resume"]) == 0
    return output, seen


def stopping(step: int):
    """What a person does while that step is made: ask the run to stop."""

    def on_step_begin(clock, args, state, control, **_):
        if state.global_step == step - 1:
            clock.stop.file.touch()

    return on_step_begin


# ---- text


def test_files_are_read_line_by_line(tmp_path, text):
    plain = tmp_path / "a.txt"
    plain.write_text("first\n\n  second  \n", encoding="utf-8")
    assert read_passages([str(plain)]) == ["first", "second"]
    assert read_passages([str(text)]) == sentences(300)
    assert len(read_passages([str(plain)], docstrings=True)) > 1000


def test_what_is_held_out_depends_on_the_text_alone():
    passages = sentences(2000)
    train, held_out = split(passages, 0.1, seed=1)
    again = split(passages[::-1], 0.1, seed=2)
    assert sorted(train + held_out) == sorted(passages)
    assert 140 < len(held_out) < 260
    assert set(again[1]) == set(held_out)
    assert again[0] != train
    assert all(is_held_out(p, 0.1) for p in held_out)
    assert all(is_held_out(p, 0.2) for p in held_out)


def test_packing_by_hand():
    tokenizer = train_tokenizer(sentences(50), 300, 16)
    passages = ["the cat", "a dog " + END]
    inner = [tokenizer(p, add_special_tokens=False, split_special_tokens=True).input_ids for p in passages]
    flat = [id for ids in inner for id in (0, *ids, 1)]
    rows = pack(passages, tokenizer, 8)
    assert rows.dtype == np.uint16
    assert rows.shape == (len(flat) // 8, 8)
    assert rows.flatten().tolist() == flat[: rows.size]
    assert flat.count(1) == 2  # the end token spelled out in a text is text
    assert tokenizer.decode(tokenizer("Ünïcode 🙂 text").input_ids, skip_special_tokens=True) == "Ünïcode 🙂 text"


def test_the_rate_rises_and_falls():
    assert pretraining.rate(0, 0.1) < 0.02
    assert pretraining.rate(0.05, 0.1) == pytest.approx(0.5)
    assert pretraining.rate(0.1, 0.1) == pytest.approx(1)
    assert pretraining.rate(0.55, 0.1) == pytest.approx((1 + pretraining.LOWEST) / 2)
    assert pretraining.rate(1, 0.1) == pretraining.rate(1.2, 0.1) == pytest.approx(pretraining.LOWEST)
    assert pretraining.rate(0, 0) == pytest.approx(1)


# ---- a run


def test_a_stopped_run_goes_on_and_learns(pretrained):
    output, seen = pretrained
    assert seen == {"checkpoints": ["checkpoint-20"], "finished": False}
    record = json.loads((output / "pretraining.json").read_text())
    assert record["steps"] == 47
    assert record["tokens"] == 47 * 8 * 32
    assert [step for step, *_ in record["held_out_curve"]] == [20, 47]
    assert record["held_out_curve"][-1][2] < record["held_out_curve"][0][2] < math.log(320)
    assert not checkpoints(output)
    assert not (output / "work").exists()
    card = (output / "README.md").read_text()
    for told in ("--tokens 12000", "--data-card DATA.md", "drawn at random, in the public domain", "of a processor"):
        assert told in card
    assert record["hardware"]["device"] == "cpu"
    assert str(output.parent) not in json.dumps(record) + card


def test_transformers_alone_loads_it_and_it_continues_a_text(pretrained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    output, _ = pretrained
    model = AutoModelForCausalLM.from_pretrained(output, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert model.dtype == torch.bfloat16
    assert model.config.tie_word_embeddings
    ids = tokenizer("the cat", return_tensors="pt", return_token_type_ids=False)
    assert ids.input_ids[0, 0] == tokenizer.bos_token_id
    assert ids.input_ids[0, -1] != tokenizer.eos_token_id
    longer = tokenizer.decode(model.generate(**ids, max_new_tokens=8, do_sample=False)[0], skip_special_tokens=True)
    assert longer.startswith("the cat ")
    assert len(longer) > 10


def test_it_serves_as_a_backbone_with_an_end_token(pretrained):
    backbone = Backbone.load(str(pretrained[0]), "cpu", "float32")
    ids = backbone.tokenize(["the cat", "the dog " * 200])
    tokenizer = backbone.tokenizer
    assert all(row[0] == tokenizer.bos_token_id and row[-1] == tokenizer.eos_token_id for row in ids)
    assert len(ids[1]) == backbone.max_length == 32
    for attention in ("causal", "bidirectional"):
        states, _ = backbone.states(*backbone.pad(ids), attention=attention, read="layer-means")
        assert states.shape == (2, 2, 32)


def test_perplexity_is_measured_again_from_the_files(pretrained, text, capsys):
    output, _ = pretrained
    told = json.loads((output / "pretraining.json").read_text())["held_out"]
    capsys.readouterr()
    asked = [
        "perplexity",
        "--model",
        str(output),
        "--text",
        str(text),
        "--held-out",
        "0.1",
        "--device",
        "cpu",
        "--json",
    ]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == told["tokens"]
    assert found["perplexity"] == pytest.approx(told["perplexity"], rel=1e-3)


def test_perplexity_of_a_model_that_guesses_is_its_vocabulary():
    class Guess(torch.nn.Module):
        def forward(self, input_ids, use_cache):
            return type("Output", (), {"logits": torch.zeros(*input_ids.shape, 300)})

    tokenizer = train_tokenizer(sentences(50), 300, 16)
    rows = pack(sentences(4), tokenizer, 16)
    found = measure(Guess(), tokenizer, rows, torch.device("cpu"))  # type: ignore[arg-type]
    assert found.perplexity == pytest.approx(300, abs=0.01)
    assert found.tokens == rows.shape[0] * 15


def test_time_ends_a_run(text, tmp_path, capsys):
    """The limit lies before the first step's end: one step is made, and the schedule is over."""
    asked = [
        "pretrain",
        "--text",
        str(text),
        *SIZES,
        "--max-minutes",
        "1e-6",
        "--output",
        str(tmp_path / "lm"),
        "--json",
    ]
    assert main(asked) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["steps"] == 1
    assert not record["stopped"]


# ---- what is wrong


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "there is no text"),
        ({"text": "a.txt", "layers": 0}, "layers must be at least 1, not 0"),
        ({"text": "a.txt", "head_dim": 5}, "head_dim must be an even number"),
        ({"text": "a.txt", "vocabulary": 10**6}, "vocabulary must be at most 65536"),
        ({"text": "a.txt", "batch_size": 6, "micro_batch": 4}, "batch_size 6 is no multiple of micro_batch 4"),
        ({"text": "a.txt", "held_out": 0.0}, "held_out must be above 0"),
        ({"text": "a.txt", "learning_rate": -1.0}, "learning_rate must be a number above 0"),
        ({"text": "a.txt", "dtype": "float16"}, "dtype 'float16' is none of"),
        ({"text": "a.txt", "width": "wide"}, "width must be a whole number"),
    ],
)
def test_bad_configurations(given, said):
    with pytest.raises(InputError, match=said):
        PretrainingConfig(**given)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--text", "missing.txt"], "the text 'missing.txt' cannot be read"),
        (["--text", "notes.pdf"], "is no text file"),
        (["--text", "{damaged}"], "is damaged"),
        (["--text", "{short}"], "too few: none is held out"),
        (["--text", "{text}", "--vocabulary", "60000"], "too little for a vocabulary of 60000"),
        (["--text", "{text}", "--context", "100000"], "do not fill one sequence"),
        (["--text", "{text}", "--width", "x"], "'x' is not a whole number"),
        ([], "there is no text"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(more, said, text, tmp_path, capsys):
    (tmp_path / "damaged.txt.xz").write_bytes(b"not xz at all")
    (tmp_path / "short.txt").write_text("one line\n")
    files = {"damaged": tmp_path / "damaged.txt.xz", "short": tmp_path / "short.txt", "text": text}
    sizes = SIZES if "--context" not in more else [*SIZES, "--measured-tokens", "100000"]
    asked = ["pretrain", *sizes, *(part.format(**files) for part in more), "--output", str(tmp_path / "out")]
    try:
        code = main(asked)
    except SystemExit as error:
        code = int(str(error.code))
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert said in told
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_model_is_left_alone(pretrained, text, capsys):
    asked = ["pretrain", "--text", str(text), *SIZES, "--output", str(pretrained[0])]
    assert main(asked) == 2
    assert main([*asked, "--resume"]) == 2
    assert "holds a model already" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_sizes(text, tmp_path, capsys, monkeypatch):
    asked = ["pretrain", "--text", str(text), *SIZES, "--tokens", "12000", "--output", str(tmp_path / "lm")]
    monkeypatch.setattr(pretraining.Clock, "on_step_begin", stopping(1))
    assert main(asked) == 0
    assert main(asked) == 2
    assert "which --resume would go on with" in capsys.readouterr().err
    assert main([*asked, "--resume", "--seed", "7"]) == 2
    assert "has seed 0, not 7" in capsys.readouterr().err


# ---- what comes with the project


def test_the_name_lm(monkeypatch, tmp_path):
    from explorer import hub

    monkeypatch.setattr(hub, "CHECKPOINTS", tmp_path)
    with pytest.raises(InputError, match="has no folder checkpoints/lm"):
        resolve(LM)
    (tmp_path / LM).mkdir()
    (tmp_path / LM / "config.json").write_text("{}")
    assert resolve(LM) == str(tmp_path / LM)


def test_the_shelf_has_its_untrained_designs_where_it_is_there(monkeypatch, tmp_path):
    from explorer import variants

    monkeypatch.setattr(variants, "CHECKPOINTS", tmp_path)
    assert not any(v.backbone == LM for v in Shelf("cpu").variants)
    (tmp_path / LM).mkdir()
    (tmp_path / LM / "config.json").write_text("{}")
    shelf = Shelf("cpu")
    found = {v.name: v.how for v in shelf.variants if v.backbone == LM}
    assert {"lm-untrained/eos-causal", "lm-untrained/mean-bidirectional"} <= set(found)
    assert all("made for teaching" in how for how in found.values())
    assert not any(name.startswith(LM) for name in shelf.defaults)
