"""The language model that ships: transformers alone loads it, it writes English, its designs were trained alike."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from explorer.backbone import Backbone
from explorer.designs import LM, STUDY_DESIGNS
from explorer.store import CHECKPOINTS
from explorer.variants import Shelf

FOLDER = CHECKPOINTS / LM
TEXTS = Path(__file__).parents[2] / "shared" / "data" / "text"
SEVEN = (*STUDY_DESIGNS, "mean-causal", "mean-bidirectional")
MIB = 1 << 20

CONTINUES = """
import sys, json
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
inputs = tokenizer(sys.argv[2], return_tensors="pt", return_token_type_ids=False)
ids = model.generate(**inputs, max_new_tokens=24, do_sample=False)
print(json.dumps([type(model).__name__, tokenizer.decode(ids[0], skip_special_tokens=True)]))
"""
PASSAGE = (
    "The old man walked slowly down the street, because the night was cold and he had no coat. When he came to the "
    "house of his brother, he stood before the door for a long time and looked at the light in the window."
)


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads((FOLDER / "pretraining.json").read_text(encoding="utf-8"))


def test_transformers_alone_loads_it_without_a_network_and_continues_a_sentence(tmp_path):
    prompt = "She opened the door and"
    done = subprocess.run(
        [sys.executable, "-c", CONTINUES, str(FOLDER), prompt],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    kind, text = json.loads(done.stdout.strip().splitlines()[-1])
    assert kind == "Qwen3ForCausalLM"
    written = text.removeprefix(prompt).split()
    assert text.startswith(prompt)
    assert len(written) >= 8
    common = set(
        "a an and at by for from had he her him his in it of on out said she that the they to was with".split()
    )
    assert len(common & set(written)) >= 3, text


def test_it_predicts_english_and_not_its_words_in_any_order():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)

    def loss(text: str) -> float:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            return float(model(input_ids=ids, labels=ids).loss)

    shuffled = PASSAGE.split()
    random.Random(0).shuffle(shuffled)
    assert loss(PASSAGE) < loss(" ".join(shuffled)) - 0.5


def test_its_files_are_small_and_its_card_tells_how_it_was_made(record):
    files = [file for file in FOLDER.iterdir() if file.is_file()]
    weights = [file for file in files if file.suffix == ".safetensors"]
    assert all(file.stat().st_size <= 15 * MIB for file in weights)
    assert sum(file.stat().st_size for file in files) <= 60 * MIB
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    held_out = record["held_out"]
    for told in (
        f"{record['tokens']:,} tokens", f"{held_out['perplexity']:.2f}", "python -m explorer pretrain", "licence",
        record["hardware"]["cpu"], "She opened the door and",
    ):  # fmt: skip
        assert told in card
    assert record["parameters"] == sum(p.numel() for p in Backbone.load(LM, "cpu", "float32").model.parameters())


@pytest.mark.skipif(not TEXTS.is_dir(), reason="needs ../shared/data/text")
def test_its_perplexity_on_held_out_textbooks_is_of_the_recorded_size(record):
    from explorer.pretraining.perplexity import of_saved

    found = of_saved(LM, (str(TEXTS / "textbooks.txt.xz"),), False, record["config"]["held_out"], 0, "cpu")
    assert found.tokens > 2000
    assert record["held_out"]["perplexity"] / 2 < found.perplexity < record["held_out"]["perplexity"] * 2


def test_all_designs_are_on_the_shelf_trained_alike_and_scored(home):
    shelf = Shelf("cpu")
    found = {name: shelf.find(f"{LM}/{name}") for name in SEVEN}
    assert len(found) == 7
    assert all(v.trained and "made for teaching" in v.how for v in found.values())
    configs = []
    for variant in found.values():
        config = dict(variant.record["training"]["config"])
        assert config.pop("design") == variant.design.name
        configs.append(config)
        assert {"STSBenchmark", "STS15", "XQuADRetrieval", "PythonStdlibRetrieval"} <= set(variant.scores)
        assert len(variant.scores) == 5
    assert all(config == configs[0] for config in configs)
    assert not any(name.startswith(LM) for name in shelf.defaults)
    places = [v.backbone == LM for v in shelf.variants if v.source == "checkpoint"]
    assert places == sorted(places)  # the default backbone's come first
