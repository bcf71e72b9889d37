"""What the Layers tab shows and decides, on tiny variants of every design."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
import reading
from gradio import Plot

from explorer.designs import DESIGNS, design
from explorer.encoder import PooledEncoder
from explorer.ui import html_layers, layers, layers_many, layers_test
from explorer.ui import services as page
from explorer.ui.layers import AskedReading
from explorer.variants import Variant

MULTI, LAST, EOS = (f"tiny/{name}" for name in ("multi-layer-bidirectional", "last-layer-causal", "eos-causal"))
PROBE = "{{value}} ${1+1} `x` <script>alert(1)</script>"


class Shelf(reading.Shelf):
    """The tiny designs as the page knows them; the multi-layer one remembers how its weights drifted."""

    def __init__(self) -> None:
        super().__init__()
        drift = [{"step": 0, "weights": [0.5, 0.5]}, {"step": 9, "weights": [0.2, 0.8]}]
        record = {"training": {"layer_weights": drift}}
        self.variants = [
            *(Variant(f"tiny/{n}", "checkpoint", design(n), "tiny", None, record) for n in DESIGNS),
            Variant("bm25", "lexical"),
        ]

    def find(self, name: str) -> Variant:
        full = super().find(name).name
        return next(v for v in self.variants if v.name == full)


@pytest.fixture
def services(home) -> page.Services:
    made = page.Services(Shelf())  # type: ignore[arg-type]
    made.library.add(reading.corpus())
    return made


ASKED = AskedReading(MULTI, "none", "red fox runs", "query", "blue cat sleeps", "document")
PLOTS = {"bars": 3, "heads": 4, "heads b": 5, "latents": 6, "latents b": 7, "added": 8, "differing": 11, "matrix": 13}


def plots(updates: list) -> dict[str, bool]:
    """Which plots are shown; a figure alone is shown too."""
    return {name: not isinstance(updates[i], Plot) or updates[i].visible for name, i in PLOTS.items()}


def traces(plot: Plot) -> list[dict]:
    """The traces of a plot's new value."""
    return json.loads(plot.value["plot"])["data"]


def last(updates):
    """What a generator shows in the end."""
    return list(updates)[-1]


def test_readable_variants_have_the_multi_layer_ones_first(services):
    names = page.readable(services)
    assert "bm25" not in names
    assert len(names) == len(DESIGNS)
    assert all("multi-layer" in name for name in names[:2])
    assert layers.variant_choices(services, None, "none", [EOS, MULTI])[0].value == MULTI
    assert layers.variant_choices(services, EOS, "gone", [MULTI])[0].value == EOS


def test_a_reading_of_two_texts_fills_every_panel(services):
    updates = layers.show_reading(services, ASKED)
    assert updates[0] == ""
    assert ">fox</span>" in updates[1]
    assert ">cat</span>" in updates[2]
    assert "bits, at most 1.58 where all layers are read alike; by head" in updates[1]
    assert all(plots(updates).values())
    assert updates[10].count("Without the layer matrix E this text’s vector would have a cosine of") == 2  # A and B
    assert "softmax" in updates[12]
    assert updates[14].visible  # the recorded drift
    assert [c for c, _ in updates[20].choices] == ["all heads", "head 1", "head 2"]
    assert len(updates[21].choices) >= 2


def test_a_head_and_a_group_are_chosen(services):
    weights = services.lab.read(MULTI, "red fox").layers
    one = layers.of_head(weights, "head 2")
    assert (one.values[0] == weights.values[1]).all()
    assert layers.of_head(weights, "head 9") is weights
    assert layers.chosen_group(weights, "group 1") == 1
    assert layers.chosen_group(weights, "all groups") is None
    everything = layers.show_reading(services, ASKED)[3].data[0].y
    assert list(layers.show_reading(services, replace(ASKED, head="head 2"))[3].data[0].y) != list(everything)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_shows_which_token_holds_the_mean(services, name):
    told, first, second, held = layers.show_reading(services, replace(ASKED, variant=f"tiny/{name}"))[16:20]
    for sentence in ("<b>Text A.</b> No token is a sink", "<b>Text B.</b> No token is a sink", "counts as a sink (×)"):
        assert sentence in told
    assert ("This variant reads no mean" in told) == (not DESIGNS[name].means)
    assert traces(first)[0]["zmax"] == traces(second)[0]["zmax"]
    assert len(held.data) == 4
    told, _, second, held = layers.show_reading(services, replace(ASKED, other="", text=PROBE))[16:20]
    assert "<script>" not in told
    assert not second.visible
    assert len(held.data) == 2


def test_the_probe_shows_both_means_and_end_tokens_once(services):
    drawn = traces(last(layers_test.show_probe(services, "s", [MULTI, EOS], "words"))[1])
    names = [line["name"] for line in drawn if line.get("showlegend") is not False]
    assert [name.partition("<br>")[2] for name in names] == [
        "mean without the first token",
        "mean of all tokens",
        "end token",
    ]
    means, everything = (services.lab.probe(MULTI, reading.corpus(), tokens=t).ndcg for t in ("without-first", "all"))
    assert [line["y"] for line in drawn if line.get("name") in names[:2]] == [means, everything]


@pytest.mark.parametrize("name", DESIGNS)
def test_no_design_leaves_an_empty_picture(services, name):
    updates = layers.show_reading(services, replace(ASKED, variant=f"tiny/{name}"))
    shown = plots(updates)
    assert shown["bars"]
    assert shown["heads"]
    assert shown["latents"] == ("multi-layer" in name)
    assert ("This design reads" in updates[0]) == ("multi-layer" not in name)
    assert ("layer matrix E" in updates[10]) == ("multi-layer" in name)


def test_a_pooler_of_one_token_leaves_no_empty_picture(services):
    whole = services.shelf.load(LAST)
    one = PooledEncoder(LAST, whole.backbone, design("last-layer-causal", "last-token"), whole.pooler, whole.texts)
    services.shelf.encoders[LAST] = one  # type: ignore[attr-defined]
    updates = layers.show_reading(services, replace(ASKED, variant=LAST))
    assert "its weights are 1 by construction" in updates[1]
    shown = plots(updates)
    assert all(shown[name] for name in ("bars", "heads", "heads b", "added"))
    assert not shown["latents"]
    assert [c for c, _ in updates[20].choices] == ["all heads"]


def test_text_is_shown_as_text(services):
    shown = "".join(str(part) for part in layers.show_reading(services, replace(ASKED, text=PROBE, variant=LAST))[:3])
    assert "<script>" not in shown
    assert "{{" not in shown
    assert "&lt;" in shown
    hostile = replace(services.lab.read(MULTI, "red fox"), text=PROBE)
    assert "<script>" not in html_layers.words_on_text(hostile, PROBE)


def test_what_cannot_be_read_is_said(services):
    for wrong in (replace(ASKED, text=" "), replace(ASKED, variant="bm25"), replace(ASKED, variant="")):
        updates = layers.show_reading(services, wrong)
        assert "px-error" in updates[0]
        assert len(updates) == 22


def test_two_variants_are_subtracted(services):
    figure = layers.show_reading(services, replace(ASKED, versus="tiny/multi-layer-causal"))[11].value
    assert "minus" in str(figure)


def test_layers_are_switched_off(services):
    assert layers_test.switch_choices(services, MULTI).value == ["1", "2", "3"]
    assert "reads the last layer alone" in layers_test.switch_choices(services, EOS).info
    status, ranking = last(layers_test.show_switched(services, "s", MULTI, "words", "red fox runs", ["1", "2"]))
    assert status == ""
    assert "without layer 3" in ranking
    assert "cosine to the intact vector" in ranking
    assert "leave at least one on" in last(layers_test.show_switched(services, "s", MULTI, "words", "red", []))[0]


def test_why_a_document_is_here(services):
    said, figure = last(layers_test.show_why(services, "s", MULTI, "words", "red fox runs", "d4"))
    assert "“d4” stands at rank" in said
    assert figure.visible
    assert "name a document first" in last(layers_test.show_why(services, "s", MULTI, "words", "red", " "))[0].lower()
    assert "px-error" in last(layers_test.show_why(services, "s", MULTI, "words", "red", "gone"))[0]


def test_every_layer_and_its_worth(services):
    _, figure, told = last(layers_test.show_ablation(services, "s", MULTI, "words"))
    assert figure.visible
    assert "Mean weight and what removing a layer costs: " in told
    assert told.count("<tr>") == 4
    assert "px-error" in last(layers_test.show_ablation(services, "s", EOS, "words"))[0]
    assert last(layers_test.show_probe(services, "s", [MULTI, EOS, "bm25"], "words"))[1].visible
    assert "px-error" in last(layers_test.show_probe(services, "s", ["bm25"], "words"))[0]


def test_many_texts(services):
    first, second = layers_many.group_choices(services, "words")
    assert second.value == "queries"
    assert ("label: red", "label: red") in first.choices
    for versus, a, b, differs in (
        ("none", "all documents", "queries", True),
        ("none", "label: red", "label: red", False),
        ("tiny/multi-layer-causal", "label: red", "queries", True),
    ):
        _, spread, differing = last(layers_many.show_many_texts(services, "s", MULTI, versus, "words", a, b))
        assert spread.visible
        assert differing.visible == differs
    failed = last(layers_many.show_many_texts(services, "s", MULTI, "none", "words", "label: gone", "queries"))
    assert "px-error" in failed[0]


def test_weights_as_csv_are_all_there(services):
    found, _ = layers.readings_of(services, ASKED)
    rows = list(csv.DictReader(io.StringIO(layers.weights_csv(found))))
    shape = found[0].layers.values.shape
    assert len(rows) == 2 * shape[0] * shape[1] * shape[2]
    assert sum(float(r["weight"]) for r in rows) == pytest.approx(2 * shape[0] * shape[1], abs=1e-4)
