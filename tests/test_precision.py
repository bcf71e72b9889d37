"""Half precision where it is as good as float32, and float32 where it is not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from explorer.backbone import Backbone, pick_dtype
from explorer.designs import design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.precision import OVERFLOWS_IN_FLOAT16, SAMPLE, Precision, check_precision

TEXTS = ["one", "two and three", "a somewhat longer text than the others"]


def half(dtype: torch.dtype = torch.bfloat16, rounded: bool = True, again: bool = False, damage=None) -> Backbone:
    """A tiny Llama in half precision; `rounded`: its weights are numbers that half precision holds exactly."""

    def model():
        made = tiny.model("llama")
        with torch.no_grad():
            for parameter in made.parameters():
                if rounded:
                    parameter.copy_(parameter.to(dtype).float())
            if damage:
                damage(made)
        return made

    return Backbone(model(), tiny.tokenizer("llama"), "tiny/half", "cpu", dtype, model if again else None)


def overflow(model) -> None:
    """Activations of 100,000: fine in float32 and bfloat16, infinite in float16."""
    model.layers[0].mlp.down_proj.weight.mul_(5e4)


class Fake:
    """Vectors as planted."""

    name = "fake"
    backbone = SimpleNamespace(dtype=torch.bfloat16)

    def __init__(self, half, exact=None) -> None:
        self.found = {False: half, True: [[1.0, 0.0]] * len(SAMPLE) if exact is None else exact}

    def embed(self, texts, exact):
        assert texts == list(SAMPLE)
        found = self.found[exact]
        if isinstance(found, Exception):
            raise found
        return torch.nn.functional.normalize(torch.tensor(found), dim=-1)


def test_one_text_that_differs_decides():
    near = [[1.0, 0.01]] * len(SAMPLE)  # cosine .99995
    assert check_precision(Fake(near)).used == "bfloat16"
    found = check_precision(Fake([*near[1:], [1.0, 0.1]]))  # .995
    assert found.used == "float32"
    assert found.cosine == pytest.approx(1 / 1.01**0.5, abs=1e-6)
    assert found.sentence == (
        "bfloat16 changes its vectors (lowest cosine to float32 0.995 on 8 sample texts), so it runs in float32, "
        "which takes longer."
    )
    assert check_precision(Fake(near)).sentence == ""


def test_what_is_not_finite_falls_back_and_says_so():
    nan = [[float("nan"), 0.0]] * len(SAMPLE)
    assert check_precision(Fake(nan)).sentence.startswith("bfloat16 changes its vectors (some are not finite numbers)")
    named = check_precision(Fake(InputError("gives NaN from layer 2 on")))
    assert (named.used, named.reason) == ("float32", "gives NaN from layer 2 on")
    with pytest.raises(InputError, match="float32 too"):
        check_precision(Fake(nan, InputError("float32 too")))


def test_without_memory_for_float32_it_is_said_that_nothing_was_compared():
    found = check_precision(Fake([[1.0, 0.0]] * len(SAMPLE), torch.OutOfMemoryError("CUDA out of memory")))
    assert found == Precision("bfloat16", "bfloat16", reason="there is not enough memory for both")
    assert "were not compared with float32" in found.sentence


def test_what_was_compared_is_known_after_a_restart(home, monkeypatch):
    found = PooledEncoder.untrained(half(), design("mean-causal")).precision
    assert found.cosine is not None
    monkeypatch.setattr(PooledEncoder, "embed", None)
    assert PooledEncoder.untrained(half(), design("mean-causal")).precision == found
    with pytest.raises(TypeError):  # of another variant nothing is known
        assert PooledEncoder.untrained(half(), design("eos-causal")).precision
    (file,) = (home / "cache" / "precision").iterdir()
    file.write_text("{")
    with pytest.raises(TypeError):
        assert PooledEncoder.untrained(half(), design("mean-causal")).precision


def test_float32_needs_no_check(monkeypatch):
    encoder = PooledEncoder.untrained(tiny.backbone("llama"), design("mean-causal"))
    monkeypatch.setattr(encoder, "embed", None)
    assert encoder.precision == Precision("float32", "float32")
    assert encoder.notes == []


@pytest.mark.parametrize("again", [True, False], ids=["loaded again", "kept"])
@pytest.mark.parametrize("rounded", [True, False], ids=["exact in half", "rounded"])
@pytest.mark.parametrize("name", ["mean-bidirectional", "eos-causal"])
def test_exact_states_are_those_of_a_float32_backbone(rounded, again, name):
    backbone = half(rounded=rounded, again=again)
    plain = Backbone(tiny.model("llama"), tiny.tokenizer("llama"), "tiny/plain")
    if rounded:
        with torch.no_grad():
            for parameter in plain.model.parameters():
                parameter.copy_(parameter.to(torch.bfloat16).float())
    ids, mask = tiny.batch([13, 5])
    chosen = design(name)
    with torch.inference_mode():
        before = backbone.states(ids, mask, attention=chosen.attention, read="tokens")[0]
        exact = backbone.states(ids, mask, attention=chosen.attention, read="tokens", exact=True)[0]
        after = backbone.states(ids, mask, attention=chosen.attention, read="tokens")[0]
        wanted = plain.states(ids, mask, attention=chosen.attention, read="tokens")[0]
    assert torch.equal(exact, wanted)
    assert torch.equal(before, after)
    assert not torch.equal(before, exact)


def test_float32_weights_are_counted_and_dropped():
    backbone = half()
    weights = backbone.memory().weights
    linear = sum(m.weight.numel() for m in backbone.model.modules() if isinstance(m, torch.nn.Linear))
    ids, mask = tiny.batch([5])
    with torch.inference_mode():
        backbone.states(ids, mask, attention="causal", read="tokens", exact=True)
    assert backbone.memory().weights == weights + 4 * linear
    backbone.drop_full_precision()
    assert backbone.memory().weights == weights


def test_a_variant_that_overflows_runs_in_float32_and_says_so(caplog):
    backbone = half(torch.float16, again=True, damage=overflow)
    encoder = PooledEncoder.untrained(backbone, design("mean-causal"), texts=TextSettings(64))
    vectors = encoder.encode(TEXTS)
    plain = tiny.model("llama")
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(parameter.half().float())
        overflow(plain)
    exact = PooledEncoder.untrained(
        Backbone(plain, tiny.tokenizer("llama"), "tiny/plain"), design("mean-causal"), texts=TextSettings(64)
    )
    np.testing.assert_allclose(vectors, exact.encode(TEXTS), atol=1e-5)
    assert encoder.precision.used == "float32"
    assert "infinite or undefined numbers (NaN) from layer 1 on in float16" in encoder.notes[0]
    assert encoder.notes[0] in caplog.text
    assert encoder.key("query") != half_key(encoder)
    encoder.close()
    assert backbone._full.bytes == 0  # nobody needs them any more


def half_key(encoder: PooledEncoder) -> str:
    """The key under which its vectors would be kept if it ran in half precision."""
    copied = PooledEncoder(
        encoder.name, encoder.backbone, encoder.design, encoder.pooler, encoder.texts, None, Precision(*["float16"] * 2)
    )
    return copied.key("query")


def test_a_variant_that_keeps_its_vectors_stays_in_half_precision():
    backbone = half()
    encoder = PooledEncoder.untrained(backbone, design("mean-causal"), texts=TextSettings(64))
    assert encoder.precision.used == "bfloat16"
    assert encoder.precision.cosine >= 0.999
    assert backbone._full.bytes == 0
    assert encoder.notes == []


def test_float16_is_not_chosen_for_what_overflows_in_it(monkeypatch):
    mps, cuda = torch.device("mps"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    for kind in OVERFLOWS_IN_FLOAT16:
        assert pick_dtype("auto", mps, kind) == pick_dtype("auto", cuda, kind) == torch.float32
        assert pick_dtype("float16", cuda, kind) == torch.float16  # asked for by name: the check will tell
    assert pick_dtype("auto", cuda, "llama") == torch.float16
