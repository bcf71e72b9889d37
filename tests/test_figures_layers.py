"""Figures of Layers: made from real readings and reports, with the right numbers, scales and heights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reading import Shelf, corpus, encoder

from explorer.comparison import Comparer
from explorer.figures import ablation
from explorer.figures import layers as figures
from explorer.layers.lab import LayerLab
from explorer.layers.next_token import NextToken
from explorer.layers.reading import Weights, difference, read
from explorer.layers.samples import contrast
from explorer.styles import style

MULTI, TEXT, SET = "multi-layer-bidirectional", "the red fox <b>sleeps</b>", "corpus words"


@pytest.fixture
def lab(home) -> LayerLab:
    return LayerLab(Comparer(Shelf()))


def fits(figure, height: int) -> None:
    """What every figure has: its height, the template, its settings, and JSON that a page can take."""
    assert figure.layout.height == height
    assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert SET in figure.layout.annotations[-1].text
    json.loads(figure.to_json())


def test_heads_and_latents():
    layers = read(encoder(MULTI), TEXT).layers
    heads = figures.heads_heatmap(layers, "heads", SET, top=0.9)
    fits(heads, 400)
    heat = heads.data[0]
    np.testing.assert_allclose(heat.z, np.vstack([layers.heads, layers.mean]))
    assert (list(heat.x), list(heat.y)) == (["1", "2", "3"], ["head 1", "head 2", "mean"])
    assert (heat.zmin, heat.zmax) == (0, 0.9)
    assert heat.texttemplate  # numbers without hovering
    latents = figures.latents_heatmap(layers, "latents", SET)
    fits(latents, 460)
    np.testing.assert_allclose(latents.data[0].z, layers.latents[layers.groups.order])
    assert len(latents.layout.shapes) == len(layers.groups.sizes) - 1
    one = figures.latents_heatmap(layers, "latents", SET, group=1)
    assert len(one.data[0].z) == layers.groups.sizes[0]
    grouped = figures.groups_heatmap(layers, "groups", SET)
    fits(grouped, 320)
    np.testing.assert_allclose(grouped.data[0].z, layers.groups.means)


def test_hundreds_of_latents_and_many_layers_have_no_numbers_in_cells():
    rng = np.random.default_rng(0)
    weights = Weights(rng.dirichlet(np.full(80, 0.2), (4, 768)), True)
    figure = figures.latents_heatmap(weights, "latents", SET)
    assert figure.data[0].texttemplate is None
    assert 1 < len(figure.layout.yaxis.tickvals) <= 8
    assert figure.layout.xaxis.dtick == 10


def test_bars_of_weights_and_the_uniform_line():
    a, b = (read(encoder(name), TEXT).layers.mean for name in (MULTI, "multi-layer-causal"))
    figure = figures.weight_bars({"a": a, "<b>": b}, "weights", SET)
    fits(figure, 340)
    assert [bar.name for bar in figure.data] == ["a", "&lt;b&gt;"]
    assert figure.layout.shapes[0].y0 == pytest.approx(1 / 3)
    assert list(figure.data[0].text) == [f"{v:.2f}" for v in a]
    assert figure.data[0].marker.pattern.shape != figure.data[1].marker.pattern.shape
    assert not figures.weight_bars({"a": a}, "weights", SET).layout.showlegend


@pytest.mark.parametrize("name", ["last-layer-causal", "eos-causal", "mean-bidirectional", MULTI])
def test_words_are_text_and_marked(name):
    reading = read(encoder(name), TEXT)
    figure = figures.tokens_heatmap(reading, "words", SET)
    fits(figure, 400)
    ticks = list(figure.layout.xaxis.ticktext)
    assert ticks[-1].endswith("(end)")
    assert "&lt;" in ticks
    assert all("<" not in tick for tick in ticks)
    np.testing.assert_allclose(np.sum(figure.data[0].z, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", [MULTI, "last-layer-bidirectional"])
def test_contributions_stand_beside_weights(name):
    reading = read(encoder(name), TEXT)
    figure = figures.contribution_bars(reading, "contributions", SET)
    fits(figure, 380)
    for bar in figure.data:
        assert sum(bar.y) == pytest.approx(1, abs=1e-4)


def test_the_layer_matrix_is_centred():
    figure = figures.layer_matrix_heatmap(read(encoder(MULTI), TEXT).matrix, "E", SET)
    fits(figure, 420)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1, 1)


def test_distributions_and_differences(lab):
    words = corpus()
    documents, queries = lab.documents(MULTI, words), lab.queries(MULTI, words)
    boxes = figures.weight_boxes([documents, queries], "boxes", SET)
    fits(boxes, 380)
    assert list(boxes.data[0].median) == pytest.approx(np.median(documents.values, 0).tolist())
    assert "27 texts" in boxes.data[0].name
    bars = figures.contrast_bars(contrast(queries, documents), "difference", SET)
    fits(bars, 340)
    assert "6 and 27 texts" in bars.layout.annotations[-1].text
    a, b = (read(encoder(name), TEXT).layers for name in (MULTI, "multi-layer-causal"))
    d = difference(a, b)
    heat = figures.difference_heatmap(d.mean, d.heads, "difference", SET).data[0]
    assert heat.zmin == -heat.zmax  # zero is white
    assert figures.difference_heatmap(d.mean, None, "difference", SET).layout.height == 240


def test_ablation_beside_weights(lab):
    report = lab.ablate(MULTI, corpus())
    figure = ablation.ablation_bars(report, "ablation", SET)
    fits(figure, 620)
    weights, changes, alone = (list(trace.y) for trace in figure.data if trace.type == "bar")
    assert weights == [e.weight for e in report.layers]
    assert changes == pytest.approx([-e for e in report.effects])
    assert alone == [e.alone.mean("nDCG") for e in report.layers]
    assert "6 queries" in figure.layout.annotations[-1].text


def test_probe_curves_keep_each_variants_look(lab):
    probes = [lab.probe(name, corpus()) for name in ("eos-causal", "mean-causal")]
    figure = ablation.probe_curves(probes, "probe", SET)
    fits(figure, 404)
    lines = [trace for trace in figure.data if trace.showlegend is not False]
    assert [line.marker.symbol for line in lines] == [style(p.variant).marker for p in probes]
    assert list(lines[0].y) == probes[0].ndcg
    guessed = NextToken("mean-causal", "words", 4, 40, (0.1, 0.2, 0.3))
    figure = ablation.probe_curves(probes, "probe", SET, [guessed])
    assert (figure.data[-1].name, list(figure.data[-1].y)) == ("mean-causal: next token right", [0.1, 0.2, 0.3])
    assert "share of next tokens" in figure.layout.yaxis.title.text


def test_why_here_shows_scores_and_ranks(lab):
    why = lab.why_here(MULTI, corpus(), "green dog runs", "d12")
    figure = ablation.why_here_bars(why, "why", SET)
    fits(figure, 440)
    assert list(figure.data[1].y) == [m.rank for m in why.moves]
    assert list(figure.data[0].y) == pytest.approx([m.score - why.score for m in why.moves])
