"""One look a variant: colour, symbol and dash that it keeps in every plot and table, decided by its name alone.

The colour (Okabe & Ito's palette, safe for colour-blind readers) tells the design; symbol and dash do, too, but differ
from one backbone to the next. A filled symbol is a trained variant, an open one is untrained; published models and BM25
are grey. Colour never stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from .designs import DESIGNS
from .store import content_hash


@dataclass(frozen=True)
class Style:
    """colour for both themes; symbol for text, marker (plotly's name) for plots; dash for lines."""

    colour: str
    symbol: str
    marker: str
    dash: str


PALETTE = (
    Style("#0072B2", "●", "circle", "solid"),
    Style("#D55E00", "▲", "triangle-up", "dash"),
    Style("#009E73", "■", "square", "dot"),
    Style("#CC79A7", "◆", "diamond", "dashdot"),
    Style("#E69F00", "✚", "cross", "longdash"),
    Style("#56B4E9", "✖", "x", "longdashdot"),
    Style("#F0E442", "★", "star", "8px,3px"),
    Style("#A6761D", "▼", "triangle-down", "2px,4px"),
)
"""In the order of `DESIGNS`; the eighth colour, for the one design outside the paper, is not Okabe & Ito's."""

OPEN = {"●": "○", "▲": "△", "■": "□", "◆": "◇", "✚": "✛", "✖": "✕", "★": "☆", "▼": "▽"}
HOME = "minilm"
"""The default backbone's family, whose designs look as the palette has them."""
PUBLISHED = Style("#7F7F7F", "○", "circle-open", "solid")
BM25 = Style("#7F7F7F", "⊙", "circle-dot", "dot")


def style(name: str) -> Style:
    """The style of a variant's name; the same name always looks the same."""
    if name == "bm25":
        return BM25
    if name.endswith("-published"):
        return PUBLISHED
    family, _, design = name.rpartition("/")
    if design in DESIGNS:
        place = list(DESIGNS).index(design)
        trained = family.removesuffix("-untrained")
        turn = 0 if trained in ("", HOME) else 1 + int(content_hash([trained])[:8], 16) % (len(PALETTE) - 1)
        own, look = PALETTE[place].colour, PALETTE[(place + turn) % len(PALETTE)]
        if trained == family:
            return Style(own, look.symbol, look.marker, look.dash)
        return Style(own, OPEN[look.symbol], f"{look.marker}-open", look.dash)
    colour, shape = divmod(int(content_hash([name])[:8], 16) % 49, 7)
    return Style(PALETTE[colour].colour, PALETTE[shape].symbol, PALETTE[shape].marker, PALETTE[shape].dash)


def label(name: str) -> str:
    """A short name for columns and legends. The default backbone's family is left out; "not trained" never is."""
    if "-untrained/" in name:
        family, design = name.split("-untrained/", 1)
        return f"{design if family == HOME else f'{family}/{design}'} (not trained)"
    return name.removeprefix(f"{HOME}/")
