"""What all figures share: a template (transparent paper, mid-grey text for light and dark), names, captions."""

from __future__ import annotations

import textwrap

import plotly.graph_objects as go

GREY = "#808080"
GRID = "rgba(128,128,128,0.22)"

TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13, "color": GREY},
        "margin": {"l": 48, "r": 16, "t": 36, "b": 56},
        "xaxis": {"gridcolor": GRID, "zeroline": False, "showline": False, "title": {"font": {"size": 12}}},
        "yaxis": {"gridcolor": GRID, "zeroline": False, "showline": False, "title": {"font": {"size": 12}}},
        "title": {"font": {"size": 14}, "x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 12}},
        "hoverlabel": {"font": {"size": 13}},
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": GREY,
            "activecolor": "#0072B2",
            "remove": ["select", "lasso", "zoom", "pan", "zoomin", "zoomout", "autoscale", "resetscale"],
        },
    }
)


CAPTION = 46
"""Characters of a line below a figure: what a phone has room for."""


def plain(text: str, length: int = 60) -> str:
    """Text that plotly shows as text: it reads a subset of HTML in names and labels."""
    short = " ".join(text.split())
    short = short if len(short) <= length else short[: length - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def folded(text: str, width: int) -> str:
    """Text that `plain` has made safe, broken into lines that fit a phone; words stay whole."""
    return "<br>".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def signed(value: float) -> str:
    """Three digits with a sign; what rounds to nothing is +0.000, not -0.000."""
    return f"{round(value, 3) + 0.0:+.3f}"


def caption(figure: go.Figure, settings: str) -> go.Figure:
    """Write the settings that made a figure under it, so that a download carries them."""
    return figure.add_annotation(
        text=folded(settings, CAPTION), showarrow=False, align="left", font={"size": 11, "color": GREY},
        xref="paper", yref="paper", x=0, xshift=-36, y=-0.2, xanchor="left", yanchor="top",
    )  # fmt: skip
