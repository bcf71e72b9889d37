"""Figures of a training run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from ..styles import PALETTE
from .base import GREY, TEMPLATE, plain
from .layers import CELLS, heat, layer_names, layer_step


def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Loss over steps (left axis) and the held-out nDCG@10 (right axis), a colour and dash a run.

    `runs`: title -> progress records with "step", and where measured "loss" and "dev".
    """
    figure = go.Figure()
    for (title, records), look in zip(runs.items(), itertools.cycle(PALETTE), strict=False):
        name = plain(title, 40)
        losses = [(r["step"], r["loss"]) for r in records if "loss" in r]
        scores = [(r["step"], r["dev"]["ndcg@10"]) for r in records if r.get("dev")]
        figure.add_scatter(
            x=[s for s, _ in losses], y=[v for _, v in losses], name=f"{name}: loss", mode="lines",
            line={"color": look.colour, "dash": look.dash, "width": 2},
        )  # fmt: skip
        figure.add_scatter(
            x=[s for s, _ in scores], y=[v for _, v in scores], name=f"{name}: held-out nDCG@10", yaxis="y2",
            mode="markers", marker={"color": look.colour, "symbol": look.marker, "size": 10},
        )  # fmt: skip
    return figure.update_layout(
        template=TEMPLATE, height=340, title="Loss and held-out quality",
        xaxis={"title": "step"}, yaxis={"title": "loss", "rangemode": "tozero"},
        yaxis2={"title": "nDCG@10", "overlaying": "y", "side": "right", "showgrid": False},
        legend={"orientation": "h", "y": -0.25}, margin={"r": 56, "b": 72},
    )  # fmt: skip


def layer_drift(records: Sequence[Mapping[str, Any]], title: str) -> go.Figure:
    """Mean attention weight of every layer over the steps of a run, with a line at the uniform 1/L."""
    layers = len(records[0]["layer_weights"])
    steps = [r["step"] for r in records]
    # Not from end to end: the darkest is not seen on a dark page, the palest not on a white one.
    shades = sample_colorscale("Cividis", [0.3 + 0.55 * i / max(1, layers - 1) for i in range(layers)])
    figure = go.Figure()
    if layers > CELLS:  # so many lines cannot be told apart
        rows = np.array([r["layer_weights"] for r in records]).T
        figure.add_trace(heat(rows, layer_names(layers), [str(step) for step in steps], of="at step"))
        figure.update_xaxes(type="category", showgrid=False, nticks=10)
        figure.update_yaxes(autorange="reversed", dtick=layer_step(layers), showgrid=False)
        return figure.update_layout(
            template=TEMPLATE, height=420, title=f"What the pooler reads: {plain(title, 24)}",
            xaxis={"title": "step"}, yaxis={"title": "layer"},
        )  # fmt: skip
    for layer in range(layers):
        weights = [r["layer_weights"][layer] for r in records]
        figure.add_scatter(
            x=steps, y=weights, mode="lines+markers+text", name=f"layer {layer + 1}", line={"color": shades[layer]},
            text=[""] * (len(steps) - 1) + [f"layer {layer + 1}"], textposition="middle right", cliponaxis=False,
        )  # fmt: skip
    figure.add_hline(y=1 / layers, line={"color": GREY, "dash": "dot"}, annotation_text="uniform 1/L")
    return figure.update_layout(
        template=TEMPLATE, height=320, showlegend=False,
        title=f"What the pooler reads: {plain(title, 24)}",
        xaxis={"title": "step"}, yaxis={"title": "mean attention weight", "rangemode": "tozero"}, margin={"r": 72},
    )  # fmt: skip
