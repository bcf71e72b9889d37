"""What all figures share: a template (transparent paper, mid-grey text for light and dark), names, captions."""

from __future__ import annotations

import plotly.graph_objects as go

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
