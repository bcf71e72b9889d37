"""Figures of Compare."""

from __future__ import annotations

import plotly.graph_objects as go

from ..comparison import Comparison
from ..styles import label, style
from .base import GREY, TEMPLATE, caption, plain

MAX_LINES = 14


def bump_chart(view: Comparison, names: dict[str, str] | None = None) -> go.Figure:
    """How each document's rank moves from variant to variant. `names` replaces the column names (blind mode)."""
    columns = list(view.results)
    shown = [names[c] if names else plain(label(c), 120) for c in columns]
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
