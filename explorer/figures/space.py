"""Maps of embedding spaces as one figure, and the colours of points, which the page's own maps use too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.colors
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..projection.lab import Space, Star
from ..projection.quality import Quality
from ..projection.shading import Shading
from ..styles import label, style
from .base import GREY, TEMPLATE, folded, plain

LABEL_COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#5254a3",
    "#8ca252", "#bd9e39", "#ad494a", "#a55194", "#6baed6", "#fd8d3c", "#74c476", "#9e9ac8", "#637939", "#843c39",
)  # fmt: skip
"""Of middle lightness: legible on white and on black."""
REST_COLOURS = ("#8a8a8a", "#b4b4b4")
"""Other labels; no label or no value."""
CIVIDIS_PART = (0.15, 0.95)
"""Its darkest blue is not seen on black, its lightest yellow hardly on white."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
"""Colour never stands alone: labels differ in shape as well."""
PANEL = 420
"""Height and width of a map, in pixels."""
IDS_SHOWN = 20_000
"""Up to this many documents a figure carries ids to hover."""


def colours(shading: Shading) -> list[str]:
    """One colour a code: a qualitative palette for categories, Cividis for steps, grey for what is neither."""
    own = len(shading.names) - shading.rest
    if shading.kind == "categories":
        shown = [LABEL_COLOURS[i % len(LABEL_COLOURS)] for i in range(own)]
    else:
        steps = np.linspace(*CIVIDIS_PART, own) if own > 1 else [0.5] * own
        shown = plotly.colors.sample_colorscale("Cividis", list(steps), colortype="rgb") if own else []
    return [*shown, *(REST_COLOURS if shading.rest == 2 else REST_COLOURS[-shading.rest :] if shading.rest else ())]


def symbols(shading: Shading) -> list[str]:
    """One marker a code; shapes cycle through categories."""
    own = len(shading.names) - shading.rest
    return [SYMBOLS[i % 4] if shading.kind == "categories" and i < own else "circle" for i in range(len(shading.names))]


def below_first(shading: Shading) -> list[int]:
    """Codes in the order of drawing: what has no colour of its own lies below the rest."""
    own = len(shading.names) - shading.rest
    return [*range(own, len(shading.names)), *range(own)]


def point_size(n: int) -> float:
    """Markers in pixels, smaller for more documents."""
    return 8.0 if n <= 300 else 5.5 if n <= 5_000 else 3.5 if n <= 20_000 else 2.6


def bounds(positions: Mapping[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """x and y ranges that hold all maps, equally long, so that all panels have one scale and equal aspect."""
    every = np.concatenate(list(positions.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-6) * 1.06
    return [float(middle[0] - half), float(middle[0] + half)], [float(middle[1] - half), float(middle[1] + half)]


def space_figure(
    space: Space,
    shading: Shading,
    qualities: Mapping[str, Quality] | None = None,
    stars: Mapping[str, Star] | None = None,
    query: str = "",
) -> go.Figure:
    """All maps side by side on one scale, with the settings that made them below."""
    names = space.names
    titles = [_title(name, qualities) for name in names]
    figure = make_subplots(1, len(names), subplot_titles=titles, horizontal_spacing=0.02)
    x, y = bounds(space.positions)
    palette, shapes, size = colours(shading), symbols(shading), point_size(len(space.corpus))
    ids = space.corpus.ids if len(space.corpus) <= IDS_SHOWN else None
    for column, name in enumerate(names, start=1):
        codes, xy = shading.of(name), space.positions[name]
        for code in below_first(shading):
            shown = shading.names[code]
            rows = np.flatnonzero(codes == code)
            if not len(rows):
                continue
            figure.add_trace(
                go.Scattergl(
                    x=xy[rows, 0], y=xy[rows, 1], mode="markers", name=plain(shown, 40), legendgroup=str(code),
                    showlegend=column == 1 or not any((shading.of(n) == code).any() for n in names[: column - 1]),
                    marker={"color": palette[code], "symbol": shapes[code], "size": size, "opacity": 0.8},
                    text=[plain(ids[r]) for r in rows] if ids else None,
                    hovertemplate=("%{text}<br>" if ids else "") + plain(shown, 40) + "<extra></extra>",
                ),
                row=1, col=column,
            )  # fmt: skip
        if stars and name in stars:
            _add_star(figure, stars[name], xy, column, query)
    figure.update_xaxes(range=x, showticklabels=False, showgrid=False, matches="x")
    figure.update_yaxes(range=y, showticklabels=False, showgrid=False, matches="y")
    figure.update_layout(
        template=TEMPLATE, height=PANEL + 160, width=PANEL * len(names) + 220, dragmode="pan",
        legend={"title": {"text": plain(shading.title)}, "itemsizing": "constant"},
        margin={"l": 16, "r": 16, "t": 56, "b": 88},
    )  # fmt: skip
    text = folded(plain(settings_line(space), 600), 60 * len(names))
    return figure.add_annotation(
        text=text, xref="paper", yref="paper", x=0, y=-0.04, xanchor="left", yanchor="top", align="left",
        showarrow=False, font={"size": 11, "color": GREY},
    )  # fmt: skip


def settings_line(space: Space) -> str:
    """What made the maps, in one line."""
    s = space.settings
    how = f"UMAP, {s.neighbours} neighbours, seed {s.seed}" if space.drawn == "umap" else "PCA"
    over = f", each map laid over that of {label(space.names[0])}" if len(space.names) > 1 else ""
    return " ".join([f"Corpus {space.corpus.name}, {len(space.corpus):,} documents · {how}{over}.", *space.notes])


def _title(name: str, qualities: Mapping[str, Quality] | None) -> str:
    look = style(name)
    head = f'<span style="color:{look.colour}">{look.symbol}</span> <b>{plain(label(name))}</b>'
    found = qualities.get(name) if qualities else None
    if found is None or found.trustworthiness is None or found.preservation is None:
        return head
    return f"{head}<br>trustworthiness {found.trustworthiness:.3f} · neighbours kept {found.preservation:.3f}"


def _add_star(figure: go.Figure, star: Star, xy: np.ndarray, column: int, query: str) -> None:
    """The query with lines to its best documents."""
    rows: Sequence[int] = star.rows
    line_x = [v for r in rows for v in (star.xy[0], float(xy[r, 0]), None)]
    line_y = [v for r in rows for v in (star.xy[1], float(xy[r, 1]), None)]
    figure.add_trace(
        go.Scattergl(
            x=line_x, y=line_y, mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip", showlegend=False,
        ),
        row=1, col=column,
    )  # fmt: skip
    figure.add_trace(
        go.Scattergl(
            x=[star.xy[0]], y=[star.xy[1]], mode="markers", name="query", showlegend=False,
            marker={"symbol": "star", "size": 16, "color": "#F0E442", "line": {"color": "#333333", "width": 1.5}},
            hovertemplate=f"query: {plain(query, 100)}<extra></extra>",
        ),
        row=1, col=column,
    )  # fmt: skip
