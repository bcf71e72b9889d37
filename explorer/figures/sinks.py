"""Figures of attention sinks: the length of every token's state, layer by layer, and what it holds of the mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ..layers.sinks import TIMES, TextSinks, percent
from .base import GREY, plain
from .layers import CIVIDIS, WORDS_SHOWN, finished, layer_axes, layer_names

SINK = f"× sink: longer than {TIMES:g} times the median of the others"
MARK = {"symbol": "x-thin", "size": 7, "line": {"width": 1.6, "color": "#000000"}}
"""Black: sinks stand where the scale is bright."""
STEPS = (1, 2, 5)
NAMED = 16
"""Tokens in view that have room for their name, about."""


def norm_range(found: Sequence[TextSinks]) -> tuple[float, float]:
    """Lowest and highest norm of texts that are drawn on one scale."""
    norms = np.concatenate([one.norms.ravel() for one in found])
    positive = norms[norms > 0]
    return (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)


def scale_ticks(low: float, high: float) -> list[float]:
    """Round numbers of a logarithmic scale: powers of ten where these are several, else 1, 2 and 5 times them."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    steps = (1,) if high / low > 100 else STEPS
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def token_norms(found: TextSinks, title: str, settings: str, bounds: tuple[float, float] | None = None) -> go.Figure:
    """Layers x tokens, coloured by the length of the state on a logarithmic scale; sinks carry a cross.

    `bounds`: lowest and highest norm of the scale, for figures that stand side by side.
    """
    low, high = bounds or norm_range([found])
    layers, count = found.norms.shape
    pairs = zip(found.spelling.tokens, found.spelling.roles, strict=True)
    names = ["end token" if role == "end" else plain(token, 12) for token, role in pairs]
    named = list(range(0, count, 1 + min(count, WORDS_SHOWN) // NAMED))
    ticks = scale_ticks(low, high)
    told = np.empty((layers, count, 3), dtype=object)
    told[..., 0], told[..., 1], told[..., 2] = np.array(names, dtype=object), found.norms, 100 * found.shares
    figure = go.Figure(
        go.Heatmap(
            z=np.log10(np.maximum(found.norms, low)), x=list(range(count)), y=layer_names(layers), customdata=told,
            xgap=1, ygap=1 if layers <= 40 else 0, colorscale=CIVIDIS, zmin=np.log10(low), zmax=np.log10(high),
            hovertemplate="%{customdata[0]}, layer %{y}: norm %{customdata[1]:,.1f}, "
            "%{customdata[2]:.1f} % of the mean<extra></extra>",
            colorbar={
                "thickness": 10, "outlinewidth": 0, "tickvals": np.log10(ticks).tolist(),
                "ticktext": [f"{tick:,g}" if tick < 1 else f"{tick:,.0f}" for tick in ticks],
            },
        )
    )  # fmt: skip
    rows, columns = np.nonzero(found.sinks)
    figure.add_scatter(
        x=columns.tolist(), y=[str(row + 1) for row in rows], mode="markers", marker=MARK, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip
    figure.update_xaxes(
        tickmode="array", tickvals=named, ticktext=[names[i] for i in named], tickangle=-50, showgrid=False,
        range=[-0.5, min(count, WORDS_SHOWN) - 0.5], automargin=True,
    )  # fmt: skip
    figure.update_yaxes(
        title="layer", type="category", categoryorder="array", categoryarray=layer_names(layers), autorange="reversed",
        dtick=1 + layers // 16, showgrid=False, fixedrange=True, automargin=True,
    )  # fmt: skip
    figure.update_layout(dragmode="pan")
    finished(figure, plain(title, 80), f"{settings} · {SINK}" if len(rows) else settings, 420)
    figure.layout.annotations[-1].update(yshift=-84)
    return figure.update_layout(margin={"b": 110 + 14 * figure.layout.annotations[-1].text.count("<br>")})


def held_curves(found: Sequence[TextSinks], title: str, settings: str, colour: str) -> go.Figure:
    """The share of each layer's mean that the token which holds most of it has, with and without the first token.

    Text A has solid lines, text B dashed ones; the mean without the first and special tokens has open marks.
    """
    figure = go.Figure()
    n = len(found[0].norms)
    for name, one, dash in zip("AB", found, ("solid", "dash"), strict=False):
        for what, shares, width, marker in (
            ("all tokens", one.shares, 2.0, "circle"),
            ("without the first", one.rest, 1.5, "circle-open"),
        ):
            most, who = shares.max(1), shares.argmax(1)
            peak = int(most.argmax())
            tokens = [plain(one.spelling.tokens[int(token)], 16) for token in who]
            figure.add_scatter(
                x=layer_names(n), y=most, name=f"Text {name}, {what}", mode="lines+markers+text", cliponaxis=False,
                text=[percent(v) if i == peak and width == 2.0 else "" for i, v in enumerate(most)],
                textposition="top center",
                line={"color": colour, "dash": dash, "width": width}, marker={"symbol": marker, "size": 7},
                customdata=tokens,
                hovertemplate="layer %{x}: %{customdata} holds %{y:.1%}<extra>%{fullData.name}</extra>",
            )  # fmt: skip
    layer_axes(figure, n, "share of the mean")
    figure.update_yaxes(range=[0, 1.12], tickvals=[0, 0.25, 0.5, 0.75, 1], tickformat=".0%", showgrid=True)
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dot"})
    more = 19 * max(0, len(figure.data) - 2)  # on a phone every line has a row of the legend
    finished(figure, plain(title, 80), settings, 340 + more, legend=True)
    return figure.update_layout(margin={"t": figure.layout.margin.t + more})
