"""Arrays and results -> plotly figures. Only the files named figures import plotly.

One template for all: transparent paper, mid-grey text that reads on light and dark, fixed heights, no chart junk.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from .comparison import Comparison
from .styles import PALETTE, label, style

GREY = "#808080"
GRID = "rgba(128,128,128,0.22)"

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13, "color": GREY},
        "margin": {"l": 48, "r": 16, "t": 36, "b": 56},
        "xaxis": {"gridcolor": GRID, "zeroline": False, "showline": False},
        "yaxis": {"gridcolor": GRID, "zeroline": False, "showline": False},
        "hoverlabel": {"font": {"size": 13}},
    }
)

MAX_LINES = 14


def plain(text: str, length: int = 60) -> str:
    """Text that plotly shows as text: it reads a subset of HTML in names and labels."""
    short = " ".join(text.split())
    short = short if len(short) <= length else short[: length - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def caption(figure: go.Figure, settings: str) -> go.Figure:
    """Write the settings that made a figure under it, so that a download carries them."""
    return figure.add_annotation(
        text=settings, xref="paper", yref="paper", x=0, y=-0.2, showarrow=False, font={"size": 11, "color": GREY},
        xanchor="left", yanchor="top",
    )  # fmt: skip


def bump_chart(view: Comparison, names: dict[str, str] | None = None) -> go.Figure:
    """How each document's rank moves from variant to variant. `names` replaces the column names (blind mode)."""
    columns = list(view.results)
    shown = [names[c] if names else label(c) for c in columns]
    ranks = {c: {hit.id: hit.rank for hit in view.results[c]} for c in columns}
    documents = sorted(
        {d for r in ranks.values() for d in r}, key=lambda d: min(r.get(d, view.k + 1) for r in ranks.values())
    )[:MAX_LINES]
    figure = go.Figure()
    for document in documents:
        y = [ranks[c].get(document) for c in columns]
        title = plain(view.corpus.document(document).title or document, 36)
        figure.add_scatter(
            x=shown, y=y, mode="lines+markers+text", name=title, connectgaps=False,
            line={"width": 2, "color": GREY}, opacity=0.9,
            marker={
                "size": 11,
                "color": [GREY if names else style(c).colour for c in columns],
                "symbol": ["circle" if names else style(c).marker for c in columns],
            },
            text=[title if i == last_seen(y) else "" for i in range(len(y))],
            textposition="middle right", textfont={"size": 11},
            hovertemplate="%{x}: rank %{y}<extra>" + plain(document) + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        template=TEMPLATE, height=420, showlegend=False,
        title={"text": "Rank of each document, variant by variant", "font": {"size": 14}},
        xaxis={"type": "category", "range": [-0.3, len(columns) - 1 + 1.1], "fixedrange": True},
        yaxis={"autorange": "reversed", "title": "rank", "dtick": max(1, view.k // 10), "fixedrange": True},
    )  # fmt: skip
    return caption(figure, f"corpus {plain(view.corpus.name)} · query “{plain(view.query)}” · k {view.k}")


def last_seen(values: list[int | None]) -> int:
    """Index of the last value that is not None."""
    return max(i for i, value in enumerate(values) if value is not None)


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
        template=TEMPLATE, height=340, title={"text": "Loss and held-out quality", "font": {"size": 14}},
        xaxis={"title": "step"}, yaxis={"title": "loss", "rangemode": "tozero"},
        yaxis2={"title": "nDCG@10", "overlaying": "y", "side": "right", "showgrid": False},
        legend={"orientation": "h", "y": -0.25}, margin={"r": 56, "b": 72},
    )  # fmt: skip


def layer_drift(records: Sequence[Mapping[str, Any]], title: str) -> go.Figure:
    """Mean attention weight of every layer over the steps of a run, with a line at the uniform 1/L."""
    layers = len(records[0]["layer_weights"])
    steps = [r["step"] for r in records]
    shades = sample_colorscale("Cividis", [i / max(1, layers - 1) for i in range(layers)])
    figure = go.Figure()
    for layer in range(layers):
        weights = [r["layer_weights"][layer] for r in records]
        figure.add_scatter(
            x=steps, y=weights, mode="lines+markers+text", name=f"layer {layer + 1}", line={"color": shades[layer]},
            text=[""] * (len(steps) - 1) + [f"layer {layer + 1}"], textposition="middle right",
        )  # fmt: skip
    figure.add_hline(y=1 / layers, line={"color": GREY, "dash": "dot"}, annotation_text="uniform 1/L")
    return figure.update_layout(
        template=TEMPLATE, height=320, showlegend=False,
        title={"text": f"What the pooler reads, step by step: {plain(title, 40)}", "font": {"size": 14}},
        xaxis={"title": "step"}, yaxis={"title": "mean attention weight", "rangemode": "tozero"}, margin={"r": 72},
    )  # fmt: skip
