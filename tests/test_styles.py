"""A variant keeps its look, and no two designs share one."""

from explorer.designs import DESIGNS
from explorer.styles import label, style


def test_every_design_has_its_own_colour_and_symbol():
    looks = [style(f"minilm/{name}") for name in DESIGNS]
    assert len({look.colour for look in looks}) == len(DESIGNS)
    assert len({look.symbol for look in looks}) == len(DESIGNS)
    assert len({look.dash for look in looks}) == len(DESIGNS)


def test_a_design_keeps_its_colour_on_another_backbone_and_is_told_apart_from_the_first():
    for name in DESIGNS:
        here, there = style(f"minilm/{name}"), style(f"smollm2/{name}")
        assert here.colour == there.colour
        assert (here.symbol, here.marker, here.dash) != (there.symbol, there.marker, there.dash)
        assert style(f"smollm2-untrained/{name}").marker == f"{there.marker}-open"
    assert len({style(f"smollm2/{name}").symbol for name in DESIGNS}) == len(DESIGNS)


def test_the_palette_is_okabe_and_itos():
    assert style("minilm/eos-causal").colour == "#0072B2"
    assert style("minilm/mean-bidirectional").colour == "#F0E442"


def test_untrained_is_the_open_symbol_of_the_same_colour_and_says_so():
    trained, untrained = style("minilm/eos-causal"), style("minilm-untrained/eos-causal")
    assert trained.colour == untrained.colour
    assert trained.symbol != untrained.symbol
    assert label("minilm-untrained/eos-causal") == "eos-causal (not trained)"
    assert label("qwen3-0.6b-untrained/eos-causal") == "qwen3-0.6b/eos-causal (not trained)"
    assert label("minilm/eos-causal") == "eos-causal"


def test_a_name_from_outside_always_looks_the_same():
    assert style("some/model") == style("some/model")
    assert style("minilm-published").colour == style("bm25").colour
    assert style("minilm-published").symbol != style("bm25").symbol
