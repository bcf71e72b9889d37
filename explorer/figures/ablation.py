"""Figures of what layers do: switched off, alone, probed one by one, and layer by layer for one document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..designs import Tokens
from ..layers.ablation import AblationReport, WhyHere
from ..layers.next_token import NextToken
from ..layers.probe import METRIC, Probe
from ..styles import label, style
from .base import GREY, plain, signed
from .layers import CELLS, SIGN, filled, finished, layer_names, layer_step, numbers, signs


def stacked(rows: Sequence[str], layers: int, spacing: float) -> go.Figure:
    """Rows of plots over the same layers, each with its title."""
    figure = make_subplots(rows=len(rows), shared_xaxes=True, vertical_spacing=spacing, subplot_titles=rows)
    figure.update_annotations(font={"size": 12}, x=0, xanchor="left")
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=layer_names(layers), dtick=layer_step(layers),
        showgrid=False, fixedrange=True,
    )  # fmt: skip
    figure.update_xaxes(title={"text": "layer", "standoff": 6, "font": {"size": 12}}, row=len(rows))
    return figure.update_yaxes(fixedrange=True)


def ablation_bars(report: AblationReport, title: str, settings: str) -> go.Figure:
    """Three rows over the same layers: mean weight, change of nDCG without the layer, nDCG with it alone."""
    names = layer_names(len(report.layers))
    metric, intact = f"{METRIC}@{report.intact.k}", report.intact.mean(METRIC)
    figure = stacked(
        (
            "mean weight, dotted if all were alike",
            f"without the layer: {metric} minus {intact:.3f} (95 % interval)",
            f"the layer alone: {metric}, dotted with all layers",
        ),
        len(names),
        0.09,
    )
    found = [report.difference(e.layer) for e in report.layers]
    spread = {
        "type": "data", "color": GREY,
        "array": [d.high - d.mean if d else 0 for d in found],
        "arrayminus": [d.mean - d.low if d else 0 for d in found],
    }  # fmt: skip
    for row, values, form, more in (
        (1, [e.weight for e in report.layers], ".2f", {}),
        (2, [-effect for effect in report.effects], "+.3f", {"error_y": spread}),
        (3, [e.alone.mean(METRIC) for e in report.layers], ".3f", {}),
    ):
        figure.add_bar(
            x=names, y=values, row=row, col=1,
            marker={"color": signs(values)} if row == 2 else filled(style(report.variant).colour, 0),
            text=[f"{v:{form}}" for v in values] if len(names) <= CELLS and row != 2 else None, textposition="outside",
            cliponaxis=False, **more,
            hovertemplate=f"layer %{{x}}: %{{y:{SIGN if row == 2 else ''}.4f}}<extra></extra>",
        )  # fmt: skip
    if len(names) <= CELLS:
        changes = [-effect for effect in report.effects]
        ends = [(d.low, d.high) if d else (v, v) for d, v in zip(found, changes, strict=True)]
        low, high = [e[0] for e in ends], [e[1] for e in ends]
        figure.add_trace(numbers(changes, low, high), row=2, col=1)
        room = 0.3 * (max(0, *high) - min(0, *low)) + 1e-3
        figure.update_yaxes(row=2, range=[min(0, *low) - room, max(0, *high) + room])
    figure.add_hline(y=1 / len(names), row=1, col=1, line={"color": GREY, "dash": "dot"})
    figure.add_hline(y=intact, row=3, col=1, line={"color": GREY, "dash": "dot"})
    c = report.predicts_removed
    told = f"weight against loss: rank correlation {c.rho:+.2f}, p {c.p:.2g}" if c else "no rank correlation here"
    return finished(figure, plain(title, 80), f"{settings} · {report.intact.n} queries · {told}", 620)


READ: dict[Tokens | None, str] = {
    None: "end token",
    "all": "mean of all tokens",
    "without-first": "mean without the first token",
    "text": "mean of the text alone",
}
"""What stands for a layer, as a legend has room for it."""


def probe_curves(probes: Sequence[Probe], title: str, settings: str, guessed: Sequence[NextToken] = ()) -> go.Figure:
    """nDCG@k of every layer's own vector, a line a variant; a dotted line where the variant itself stands.

    A second probe of the same variant, by the mean of other tokens, is a thin line with small marks. For language
    models also the share of next tokens that each layer guesses, dashed, on the same scale.
    """
    figure = go.Figure()
    drawn: set[str] = set()
    for probe in probes:
        look, short, n = style(probe.variant), plain(label(probe.variant), 40), len(probe.ndcg)
        name, second = f"{short}<br>{READ[probe.tokens]}", probe.variant in drawn
        other = "solid" if look.dash in ("dot", "2px,4px") else "dot"
        lowest = int(np.argmin(probe.ndcg)) + 1
        named = (lowest,) if second else (probe.best, n)
        figure.add_scatter(
            x=list(range(1, n + 1)), y=probe.ndcg, name=name, mode="lines+markers+text", cliponaxis=False,
            text=[f"{v:.3f}" if i in named else "" for i, v in enumerate(probe.ndcg, start=1)],
            textposition="top center",
            line={"color": look.colour, "dash": other if second else look.dash, "width": 1.25 if second else 2},
            marker={"symbol": look.marker, "size": 5 if second else 9},
            hovertemplate="layer %{x}: %{y:.4f}<extra>" + name + "</extra>",
        )  # fmt: skip
        if second:
            continue
        drawn.add(probe.variant)
        own = probe.own.mean(METRIC)
        figure.add_scatter(
            x=[1, n], y=[own, own], mode="lines+text", text=[f"{short} itself {own:.3f}", ""],
            textposition="top right", textfont={"size": 11}, line={"color": look.colour, "width": 1, "dash": "dot"},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    for tokens in guessed:
        look, name = style(tokens.variant), f"{plain(label(tokens.variant), 40)}: next token right"
        figure.add_scatter(
            x=list(range(1, len(tokens.scores) + 1)), y=tokens.scores, name=name, mode="lines+markers",
            line={"color": look.colour, "dash": "dash", "width": 1.5}, marker={"symbol": look.marker, "size": 5},
            hovertemplate="layer %{x}: %{y:.1%} of the next tokens<extra>" + name + "</extra>",
        )  # fmt: skip
    count = max(len(probe.ndcg) for probe in probes)
    figure.update_xaxes(title="layer", tick0=1, dtick=layer_step(count), range=[0.5, count + 0.5], fixedrange=True)
    scale = f"{METRIC}@{probes[0].own.k}" + (", share of next tokens" if guessed else "")
    figure.update_yaxes(title=scale, fixedrange=True)
    more = 24 * (len(probes) - 1)  # two rows of the legend each, one below the other on a phone
    finished(figure, plain(title, 80), f"{settings} · {probes[0].own.n} queries", 380 + more, legend=True)
    return figure.update_layout(margin={"t": figure.layout.margin.t + more})


def why_here_bars(why: WhyHere, title: str, settings: str) -> go.Figure:
    """Layer by layer: how the document's score changes without it, and which rank it then has."""
    names = layer_names(len(why.moves))
    few = len(names) <= CELLS
    figure = stacked(
        (f"without the layer: score minus {why.score:.3f}", f"without the layer: rank, dotted as it is ({why.rank})"),
        len(names),
        0.14,
    )
    changes = [m.score - why.score for m in why.moves]
    figure.add_bar(
        x=names, y=changes, row=1, col=1, marker={"color": signs(changes)}, textposition="outside", cliponaxis=False,
        text=[signed(v) for v in changes] if few else None,
        hovertemplate=f"without layer %{{x}}: %{{y:{SIGN}.4f}}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=names, y=[m.rank for m in why.moves], row=2, col=1, mode="markers+text" if few else "markers",
        marker={"size": 11, "color": GREY}, text=[str(m.rank) for m in why.moves],
        textposition="top center", cliponaxis=False, hovertemplate="without layer %{x}: rank %{y}<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=why.rank, row=2, col=1, line={"color": GREY, "dash": "dot"})
    ranks = [why.rank, *(m.rank for m in why.moves)]
    margin = 0.2 * (max(ranks) - min(ranks)) + 0.5
    told = sorted({min(ranks), why.rank, max(ranks)})
    figure.update_yaxes(row=2, range=[max(ranks) + margin, min(ranks) - 2 * margin], tickvals=told)
    return finished(figure, plain(title, 80), f"{settings} · {why.candidates} candidates", 440)
