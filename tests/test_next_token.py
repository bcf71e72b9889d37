"""What each layer knows of the next token: as transformers' own language model says it, layer by layer."""

from __future__ import annotations

import json
import threading

import pytest
import tiny
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from explorer.backbone import Backbone
from explorer.designs import design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import Cancelled, InputError
from explorer.layers.next_token import guesses
from explorer.pooling import build_pooler
from explorer.svg import LOOKS, Curve, curves

TEXTS = ("the red fox sleeps", "a cat", "grey owls see at night")


def language_model(architecture: str = "qwen3", **more):
    config = tiny.model(architecture).config.to_dict() | {"tie_word_embeddings": True, **more}
    torch.manual_seed(1)
    made = AutoConfig.for_model(config.pop("model_type"), **config)
    return AutoModelForCausalLM.from_config(made, attn_implementation="sdpa", dtype=torch.float32).eval()


def encoder(model, name: str = "eos-causal") -> PooledEncoder:
    backbone = Backbone(model.base_model, tiny.tokenizer("closed"), "tiny/lm")
    return pooled(backbone, name)


def pooled(backbone: Backbone, name: str) -> PooledEncoder:
    pooler = build_pooler(design(name), backbone.width, backbone.layers)
    return PooledEncoder(name, backbone, design(name), pooler, TextSettings(64))


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gpt2", "gemma3_text"])
def test_the_last_layer_guesses_as_the_language_model_does(architecture):
    model = language_model(architecture)
    e = encoder(model)
    ids, mask = e.backbone.pad(e.backbone.tokenize(TEXTS))
    found = e.backbone.next_tokens(ids, mask)
    assert found.shape == (3, e.backbone.layers, ids.shape[1])
    with torch.inference_mode():
        out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    real = mask.bool()
    assert torch.equal(found[:, -1][real], out.logits.argmax(-1)[real])
    # The layer below, through the same end: the model's own head on the normed state.
    norm = e.backbone.word_head()[1]
    below = model.get_output_embeddings()(norm(out.hidden_states[-2])).argmax(-1)
    assert torch.equal(found[:, -2][real], below[real])
    assert not torch.equal(found[:, -2][real], found[:, -1][real])


def test_shares_count_every_token_but_the_first_and_the_end():
    e = encoder(language_model())
    found = guesses(e, "words", TEXTS)
    tokens = e.backbone.tokenize(TEXTS)
    assert found.tokens == sum(len(row) - 2 for row in tokens)  # begin and end
    right = [0] * e.backbone.layers
    for row in tokens:
        guessed = e.backbone.next_tokens(*e.backbone.pad([row]))[0]
        for layer in range(e.backbone.layers):
            right[layer] += sum(int(guessed[layer, t]) == row[t + 1] for t in range(len(row) - 2))
    assert found.scores == pytest.approx([n / found.tokens for n in right])
    json.dumps(found.to_json(), allow_nan=False)


def test_a_model_that_learned_a_text_guesses_it_at_its_end():
    """Trained for a moment on one text, so that the share says something."""
    model = language_model()
    e = encoder(model, "mean-bidirectional")  # guesses are causal whatever the design
    ids = torch.tensor(e.backbone.tokenize(TEXTS[:1]))
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    found = guesses(e, "words", TEXTS[:1])
    assert found.scores[-1] == 1
    assert found.to_json()["best"] == max(range(1, 4), key=lambda i: found.scores[i - 1])


def test_models_that_guess_nothing_say_so():
    untied = encoder(language_model(tie_word_embeddings=False))
    with pytest.raises(InputError, match="does not tell which token comes next"):
        guesses(untied, "words", TEXTS)
    bert = pooled(tiny.backbone("bert"), "eos-causal")
    with pytest.raises(InputError, match="does not tell which token comes next"):
        guesses(bert, "words", TEXTS)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Cancelled):
        guesses(encoder(language_model()), "words", TEXTS, cancel=stopped)


def test_three_curves_have_three_looks_and_names_within_the_picture():
    drawn = curves([Curve(f"line {i}", [0.1 * i, 0.5]) for i in range(3)], "title")
    assert drawn.count("<polyline") == 3
    assert all(colour in drawn for colour, _ in LOOKS)
    height = float(drawn.split('viewBox="0 0 640 ')[1].split('"')[0])
    assert height - 20 < float(drawn.rsplit('" y="', 1)[1].split('"')[0]) < height
