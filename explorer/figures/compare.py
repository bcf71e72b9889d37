"""Figures of Compare."""

from __future__ import annotations

import plotly.graph_objects as go

from ..comparison import Comparison
from ..styles import label, style
from .base import CAPTION, GREY, TEMPLATE, caption, folded, plain

MAX_LINES = 14
SHORT = 15
"""Characters of a title beside the chart."""


def bump_chart(view: Comparison, names: dict[str, str] | None = None) -> go.Figure:
    """How each document's rank moves from variant to variant. `names` replaces the column names (blind mode).

    Documents are named where they begin (ranks of the first variant, left) and end (ranks of the last one, right).
    """
    columns = list(view.results)
    heads = [names[c] if names else f'<span style="color:{style(c).colour}">{style(c).symbol}</span>' for c in columns]
    ranks = {c: {hit.id: hit.rank for hit in view.results[c]} for c in columns}
    documents = sorted(
        {d for r in ranks.values() for d in r}, key=lambda d: min(r.get(d, view.k + 1) for r in ranks.values())
    )[:MAX_LINES]
    titles = {d: view.corpus.document(d).title or d for d in documents}
    spoken = [names[c] if names else plain(label(c)) for c in columns]
    first = {ranks[columns[0]].get(d): plain(titles[d], SHORT) for d in documents}
    ticks = list(range(1, view.k + 1, max(1, view.k // 10)))
    figure = go.Figure()
    for document, title in titles.items():
        y = [ranks[c].get(document) for c in columns]
        figure.add_scatter(
            x=list(range(len(columns))), y=y, mode="lines+markers+text", name=plain(title, 36), connectgaps=False,
            line={"width": 2, "color": GREY}, opacity=0.9,
            marker={
                "size": 11,
                "color": [GREY if names else style(c).colour for c in columns],
                "symbol": ["circle" if names else style(c).marker for c in columns],
            },
            text=[*[""] * (len(columns) - 1), plain(title, SHORT) if len(columns) > 1 else ""],
            textposition="middle right", textfont={"size": 11}, customdata=spoken, cliponaxis=False,
            hovertemplate="%{customdata}: rank %{y}<extra>" + plain(document) + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        template=TEMPLATE, height=420, showlegend=False,
        title="Rank of each document, by variant",
        xaxis={
            "range": [-0.2, len(columns) - 0.8], "fixedrange": True, "tickvals": list(range(len(columns))),
            "ticktext": heads, "tickfont": {"size": 17}, "tickangle": 0,
        },
        yaxis={
            "autorange": "reversed", "fixedrange": True, "automargin": True, "tickvals": ticks,
            "ticktext": [f"{first.get(rank, '')} {rank}" for rank in ticks], "tickfont": {"size": 11},
        },
    )  # fmt: skip
    who = [f"{style(c).symbol}\u00a0{name}" for c, name in zip(columns, spoken, strict=True)] if not names else []
    told = f"corpus {plain(view.corpus.name)} · query “{plain(view.query)}” · k {view.k}"
    below = caption(figure, told).layout.annotations[-1].update(y=0, yshift=-34)
    below.text = "<br>".join([*([folded(" · ".join(who), CAPTION)] if who else []), below.text])
    figure.update_layout(margin={"r": 100 if len(columns) > 1 else 16, "b": 60 + 14 * below.text.count("<br>")})
    return figure
