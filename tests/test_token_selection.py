"""Which tokens a mean is taken over, by hand: both sides of padding, prompts, special tokens, texts of one token."""

from __future__ import annotations

import pytest
import torch
from reading import backbone

from explorer.designs import DESIGNS, MEANING, reads_phrase
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.layers.states import StatesEncoder
from explorer.token_selection import counted_tokens

BEGIN, END, PAD = 90, 91, 0
SPECIAL = [BEGIN, END, PAD]
IDS = {"right": [[BEGIN, 5, 6, 7, END], [8, 9, END, PAD, PAD]], "left": [[BEGIN, 5, 6, 7, END], [PAD, PAD, 8, 9, END]]}
MASK = {"right": [[1] * 5, [1, 1, 1, 0, 0]], "left": [[1] * 5, [0, 0, 1, 1, 1]]}
WITHOUT = {"right": [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]], "left": [[0, 1, 1, 1, 0], [0, 0, 0, 1, 0]]}
"""Neither the first token, which is one of the text in the second row, nor special ones."""
PROMPTED = {"right": [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]], "left": [[0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]}
"""Three tokens of prompt in the first row, one in the second."""


def counted(ids, mask, tokens, prompts=None) -> list[list[int]]:
    prompts = None if prompts is None else torch.tensor(prompts)
    return counted_tokens(torch.tensor(ids), torch.tensor(mask), tokens, SPECIAL, prompts).tolist()


@pytest.mark.parametrize("side", ["right", "left"])
def test_tokens_are_counted_by_hand(side):
    assert counted(IDS[side], MASK[side], "all") == MASK[side]
    assert counted(IDS[side], MASK[side], "without-first") == WITHOUT[side]
    assert counted(IDS[side], MASK[side], "text") == WITHOUT[side]  # there is no prompt
    assert counted(IDS[side], MASK[side], "text", [3, 1]) == PROMPTED[side]
    assert counted(IDS[side], MASK[side], "without-first", [3, 1]) == WITHOUT[side]  # prompts are of no matter to it


def test_something_is_always_left():
    assert counted([[7]], [[1]], "without-first") == [[1]]  # the only token
    assert counted([[BEGIN, END]], [[1, 1]], "without-first") == [[0, 1]]  # all but the first
    assert counted([[BEGIN, 5, 6, END]], [[1] * 4], "text", [4]) == [[0, 1, 1, 1]]  # the prompt left no room for a text
    assert counted([[PAD, 7]], [[0, 1]], "text", [1]) == [[0, 1]]


def test_padding_may_have_the_id_of_a_token_of_the_text():
    assert counted([[5, 6, 6, 6]], [[1, 1, 0, 0]], "without-first") == [[0, 1, 0, 0]]


@pytest.mark.parametrize("architecture", ["bert", "llama", "qwen3"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_variants_mean_is_over_its_tokens(architecture, side):
    """Against the last hidden states of each text alone, with a prompt of eleven tokens and of none."""
    shared, texts = backbone(architecture), ["red fox", "a longer one"]
    prompt = "find this: "
    first = {"bert": 1, "llama": 1, "qwen3": 0}[architecture]  # tokens that the tokenizer puts before a text
    for tokens, skipped in (("all", 0), ("without-first", 1), ("text", first + len(prompt))):
        encoder = PooledEncoder.untrained(
            shared, DESIGNS["mean-causal"], texts=TextSettings(64, prompt, prompt, tokens)
        )
        for text, vector in zip(texts, encoder.encode(texts), strict=True):
            ids, mask = shared.pad(shared.tokenize([prompt + text]), side)
            with torch.inference_mode():
                states = shared.states(ids, mask, attention="causal", read="tokens")[0][0]
            end = len(states) if tokens == "all" else len(states) - 1  # the end token is special
            expected = states[skipped:end].mean(0)
            torch.testing.assert_close(torch.tensor(vector), expected / expected.norm(), atol=1e-5, rtol=0)


def test_settings_and_probes_refuse_what_is_none():
    with pytest.raises(InputError, match="tokens 'most' is none of: all, without-first, text"):
        TextSettings(tokens="most")
    encoder = PooledEncoder.untrained(backbone("bert"), DESIGNS["mean-causal"])
    with pytest.raises(InputError, match="token weights 'heavy' are none of: uniform, position, unit"):
        StatesEncoder(encoder, "layer-means", weights="heavy")


@pytest.mark.parametrize("weights", ["uniform", "position", "unit"])
def test_weights_of_a_probes_tokens_by_hand(weights):
    shared, text = backbone("llama"), "red fox"
    encoder = PooledEncoder.untrained(shared, DESIGNS["mean-causal"])
    found = StatesEncoder(encoder, "layer-means", "without-first", weights).encode([text])[0].reshape(shared.layers, -1)
    ids, mask = shared.pad(shared.tokenize([text]))
    with torch.inference_mode():
        layers = shared.each_layer(ids, mask, "causal", lambda _, states: states[0, 1:-1].clone())
    for mean, states in zip(found, layers, strict=True):
        if weights == "unit":
            states = states / states.norm(dim=1, keepdim=True)
        w = torch.arange(1.0, len(states) + 1) if weights == "position" else torch.ones(len(states))
        torch.testing.assert_close(torch.tensor(mean), (w / w.sum()) @ states, atol=1e-5, rtol=1e-5)


def test_a_design_that_takes_no_mean_names_no_tokens():
    for name, design in DESIGNS.items():
        told = reads_phrase(design, "without-first")
        assert (MEANING["without-first"] in told) == (
            name in ("mean-causal", "mean-bidirectional", "multi-layer-bidirectional")
        )
        assert "first" not in reads_phrase(design)
