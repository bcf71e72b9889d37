"""Figures of what poolers read: weights in Cividis, differences blue-white-orange around zero. Arrays in, figures out.

Every figure has a fixed height and carries its settings; numbers stand in the cells and at the bars while they fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from ..layers.contributions import LayerMatrix
from ..layers.reading import Reading, Weights
from ..layers.samples import Contrast, WeightSample
from ..styles import PALETTE
from .base import GREY, TEMPLATE, caption, folded, plain, signed

CIVIDIS = "Cividis"
DIVERGING = [[0.0, "#0072B2"], [0.5, "#F7F7F7"], [1.0, "#D55E00"]]
"""Blue below zero, orange above."""

CELLS = 14
"""Up to this many columns and rows the cells hold their numbers."""
SIGN = "0>+"
"""A format with a sign; plotly takes it apart where it begins with the sign itself."""
WORDS_SHOWN = 40
"""Words in view at once; the others are a drag away."""
DASHES, MARKERS = ("solid", "dash", "dot"), ("circle", "diamond", "circle-open")
"""Lines of the series of one variant."""
SHAPES = ("", "/", "x", ".", "-", "|", "\\", "+")
"""Patterns of bars."""


def layer_names(count: int) -> list[str]:
    """ "1" to "L", the names of the layers everywhere."""
    return [str(i) for i in range(1, count + 1)]


def finished(figure: go.Figure, title: str, settings: str, height: int, legend: bool = False) -> go.Figure:
    """Template, title, height and the settings below."""
    lines = folded(title, 40)
    more = 18 * lines.count("<br>")
    above = (96 if legend else 48) + more
    figure.update_layout(
        template=TEMPLATE, height=height, showlegend=legend,
        title={"text": lines, "y": 1, "yanchor": "top"}, title_pad_t=12 + more,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
    )  # fmt: skip
    below = caption(figure, settings).layout.annotations[-1].text.count("<br>")
    figure.update_layout(margin={"t": above, "b": 84 + 14 * below})
    # Below the axis title by pixels, whatever the height.
    figure.layout.annotations[-1].update(y=0, yshift=-58)
    return figure


def heat(
    rows: np.ndarray,
    row_names: Sequence[str],
    column_names: Sequence[str],
    *,
    of: str,
    top: float | None = None,
    centred: bool = False,
) -> go.Heatmap:
    """A heatmap [r, c]; `top` fixes the end of the scale, for figures that stand side by side."""
    r, c = rows.shape
    most = top or float(np.abs(rows).max()) or 1.0
    sign = SIGN if centred else ""
    return go.Heatmap(
        z=rows, x=list(column_names), y=list(row_names), xgap=1, ygap=1 if r <= 4 * CELLS else 0,
        colorscale=DIVERGING if centred else CIVIDIS, zmin=-most if centred else 0, zmax=most,
        texttemplate=f"%{{z:{sign}.2f}}" if r <= CELLS and c <= CELLS else None,
        hovertemplate=f"%{{y}}, {of} %{{x}}: %{{z:{sign}.4f}}<extra></extra>",
        colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": f"{sign}.2~g"},
    )  # fmt: skip


def signs(values: Sequence[float] | np.ndarray) -> list[str]:
    """Orange for values above zero, blue below, as in the heatmaps."""
    return [str(DIVERGING[2][1] if v > 0 else DIVERGING[0][1]) for v in values]


def numbers(values: Sequence[float] | np.ndarray, low: Sequence[float], high: Sequence[float]) -> go.Scatter:
    """Signed numbers beyond the ends of the error bars, where bars would cross them."""
    up = [v >= 0 for v in values]
    return go.Scatter(
        x=layer_names(len(up)), y=[h if u else l for u, l, h in zip(up, low, high, strict=True)], mode="text",
        text=[signed(v) for v in values], textposition=["top center" if u else "bottom center" for u in up],
        hoverinfo="skip", showlegend=False, cliponaxis=False,
    )  # fmt: skip


def layer_step(count: int) -> int:
    """Every how many layers one is named, so that a phone has room for the names: at most eight of many."""
    return 1 if count <= CELLS else 1 + (count - 1) // 8


def layer_axes(figure: go.Figure, count: int, vertical: str = "") -> go.Figure:
    """Layers along x as categories, some of them named; rows from the top."""
    figure.update_xaxes(
        title={"text": "layer", "standoff": 6, "font": {"size": 12}},
        type="category",
        dtick=layer_step(count),
        tickfont={"size": 13 if count <= CELLS else 11},
        showgrid=False,
        fixedrange=True,
        tickangle=0,
    )
    figure.update_yaxes(title=vertical, showgrid=False, fixedrange=True, automargin=True)
    return figure


# ------------------------------------------------------------------------------------------------------------- weights


def with_mean(heads: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Heads [h, n] with their mean as the last row, and the names; fixed weights, which have no heads, as one row."""
    if len(heads) == 1:
        return mean[None], ["weight"]
    return np.vstack([heads, mean]), [*(f"head {h}" for h in range(1, len(heads) + 1)), "mean"]


def heads_heatmap(weights: Weights, title: str, settings: str, top: float | None = None) -> go.Figure:
    """Heads x layers, with the mean as the last row."""
    rows, names = with_mean(weights.heads, weights.mean)
    n = rows.shape[1]
    figure = go.Figure(heat(rows, names, layer_names(n), of="layer", top=top))
    layer_axes(figure, n).update_yaxes(autorange="reversed")
    return finished(figure, plain(title, 80), settings, 400)


def latents_heatmap(
    weights: Weights, title: str, settings: str, top: float | None = None, group: int | None = None
) -> go.Figure:
    """Latents x layers, group by group, with lines between the groups; `group` (from 1) shows one alone."""
    groups = weights.groups
    order = groups.order if group is None else groups.order[groups.labels[groups.order] == group]
    names = [f"latent {i + 1} (group {groups.labels[i]})" for i in order]
    n = weights.values.shape[-1]
    figure = go.Figure(heat(weights.latents[order], names, layer_names(n), of="layer", top=top))
    ends = np.cumsum(groups.sizes) if group is None else np.array([len(order)])
    starts = np.concatenate([[0], ends[:-1]])
    for end in ends[:-1]:
        figure.add_hline(y=end - 0.5, line={"color": GREY, "width": 1})
    layer_axes(figure, n)
    shown = range(1, len(ends) + 1) if group is None else [group]
    figure.update_yaxes(
        autorange="reversed", tickmode="array",
        tickvals=[names[int((s + e - 1) // 2)] for s, e in zip(starts, ends, strict=True)],
        ticktext=[  # a group of few among many has no room for a name
            f"group {g}: {e - s}" if 30 * (e - s) >= len(order) else ""
            for g, s, e in zip(shown, starts, ends, strict=True)
        ],
    )  # fmt: skip
    return finished(figure, plain(title, 80), settings, 460)


def groups_heatmap(weights: Weights, title: str, settings: str, top: float | None = None) -> go.Figure:
    """What each group of latents reads on average."""
    groups, n = weights.groups, weights.values.shape[-1]
    names = [f"group {g}: {plural(size, 'latent')}" for g, size in enumerate(groups.sizes, start=1)]
    figure = go.Figure(heat(groups.means, names, layer_names(n), of="layer", top=top))
    layer_axes(figure, n).update_yaxes(autorange="reversed")
    return finished(figure, plain(title, 80), settings, 320)


def plural(count: int, noun: str) -> str:
    """ "1 latent", "2 latents"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def weight_bars(
    means: Mapping[str, np.ndarray], title: str, settings: str, colour: str = PALETTE[0].colour
) -> go.Figure:
    """Mean weight of each layer for one or several readings (name -> [L]) of the variant that has this colour, with a
    line at the uniform 1/L."""
    figure = go.Figure()
    n = 0
    for i, (name, mean) in enumerate(means.items()):
        n = len(mean)
        text = [f"{v:.2f}" for v in mean] if n * len(means) <= 2 * CELLS else None
        figure.add_trace(bars_or_line(layer_names(n), mean, plain(name, 40), colour, i, text))
    figure.add_hline(
        y=1 / n, line={"color": GREY, "dash": "dot"}, annotation_text=f"uniform 1/{n}", annotation_position="top left"
    )
    layer_axes(figure, n, "mean attention weight").update_yaxes(rangemode="tozero", showgrid=True)
    return finished(figure, plain(title, 80), settings, 340, legend=len(means) > 1)


def bars_or_line(
    names: Sequence[str], values: Sequence[float] | np.ndarray, name: str, colour: str, number: int,
    text: list[str] | None, bars: bool = False,
) -> go.Bar | go.Scatter:  # fmt: skip
    """Values of series `number` (from 0) of one variant: bars, or where these would be too thin a line."""
    hover = "%{x}: %{y:.4f}<extra>" + name + "</extra>"
    if not bars and len(names) > CELLS:
        line = {"color": colour, "dash": DASHES[number % len(DASHES)], "width": 2}
        marker = {"symbol": MARKERS[number % len(MARKERS)], "size": 6}
        return go.Scatter(
            x=names, y=values, name=name, mode="lines+markers", line=line, marker=marker, hovertemplate=hover,
            cliponaxis=False,
        )  # fmt: skip
    return go.Bar(
        x=names, y=values, name=name, marker=filled(colour, number), text=text, textposition="outside",
        cliponaxis=False, hovertemplate=hover,
    )  # fmt: skip


def filled(colour: str, number: int) -> dict[str, object]:
    """Bars of series `number` (from 0) of one variant: its colour, its own pattern, an outline as yellow is pale."""
    pattern = {"shape": SHAPES[number % len(SHAPES)], "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.6)"}
    return {"color": colour, "pattern": pattern, "line": {"color": GREY, "width": 1}}


def tokens_heatmap(reading: Reading, title: str, settings: str) -> go.Figure:
    """Heads x words, with the mean as the last row; prompt, special and end tokens carry their role."""
    spelling = reading.spelling
    both, names = with_mean(reading.tokens.heads, reading.tokens.mean)
    rows = spelling.join(both)
    roles = ["" if w.role == "text" else f" ({w.role})" for w in spelling.words]
    words = [plain(w.text, 18) + r for w, r in zip(spelling.words, roles, strict=True)]
    figure = go.Figure(heat(rows, names, list(range(len(words))), of="word"))  # type: ignore[arg-type]
    figure.update_traces(
        customdata=np.tile(np.array(words, dtype=object), (len(rows), 1)),
        hovertemplate="%{y}, %{customdata}: %{z:.4f}<extra></extra>",
    )
    figure.update_xaxes(
        tickmode="array", tickvals=list(range(len(words))), ticktext=words, tickangle=-50, showgrid=False,
        range=[-0.5, min(len(words), WORDS_SHOWN) - 0.5], automargin=True,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, fixedrange=True, automargin=True)
    figure.update_layout(dragmode="pan")
    finished(figure, plain(title, 80), settings, 400)
    figure.layout.annotations[-1].update(yshift=-112)
    return figure.update_layout(margin={"b": 154})


def contribution_bars(reading: Reading, title: str, settings: str, colour: str = PALETTE[0].colour) -> go.Figure:
    """Weight, norm-based contribution and part along the output of each layer or word, all as shares, side by side, in
    the variant's colour."""
    assert reading.contributions is not None
    c = reading.contributions
    if reading.over == "layers":
        names = layer_names(len(c.share))
        series = (reading.layers.mean, c.share, c.along)
    else:
        names = [f"{i}: {plain(w.text, 14)}" for i, w in enumerate(reading.spelling.words)]
        series = tuple(reading.spelling.join(s) for s in (reading.tokens.mean, c.share, c.along))  # type: ignore[assignment]
    figure = go.Figure()
    titles = ("weight", "contribution", "along output")
    for i, (name, values) in enumerate(zip(titles, series, strict=True)):
        text = [f"{v:.2f}" for v in values] if len(names) <= 8 else None
        figure.add_trace(bars_or_line(names, values, name, colour, i, text, bars=reading.over == "tokens"))
    figure.update_traces({"textangle": -90, "textfont": {"size": 10}, "constraintext": "none"}, {"type": "bar"})
    ends = [min(0.0, *(float(np.min(s)) for s in series)), max(float(np.max(s)) for s in series)]
    layer_axes(figure, len(names), "share").update_yaxes(showgrid=True, range=[1.2 * ends[0], 1.2 * ends[1]])
    if reading.over == "tokens":
        figure.update_xaxes(title="", tickangle=-50, range=[-0.5, min(len(names), WORDS_SHOWN) - 0.5], fixedrange=False)
    return finished(figure, plain(title, 80), settings, 380, legend=True)


def layer_matrix_heatmap(matrix: LayerMatrix, title: str, settings: str) -> go.Figure:
    """Cosine between the rows of E; the length of each row stands in its name while there is room."""
    columns = layer_names(len(matrix.norms))
    names = [f"{i} (norm {norm:.2f})" for i, norm in zip(columns, matrix.norms, strict=True)]
    figure = go.Figure(heat(matrix.cosines, names, columns, of="layer", top=1.0, centred=True))
    layer_axes(figure, len(names), "layer").update_yaxes(autorange="reversed")
    if len(names) > CELLS:
        named = slice(None, None, layer_step(len(names)))
        figure.update_yaxes(tickmode="array", tickvals=names[named], ticktext=columns[named])
    return finished(figure, plain(title, 80), settings, 420)


# --------------------------------------------------------------------------------------------- many texts, differences


def weight_boxes(samples: Sequence[WeightSample], title: str, settings: str, colours: Sequence[str] = ()) -> go.Figure:
    """Each layer's weight over many texts: box from quartile to quartile, line at the median, whiskers 5 to 95 %.

    `colours` are those of the variants that were read; of two samples of one variant the second has empty boxes.
    """
    figure = go.Figure()
    n = samples[0].values.shape[1]
    colours = [*colours, *(look.colour for look in PALETTE)][: len(samples)]
    for i, (sample, colour) in enumerate(zip(samples, colours, strict=True)):
        low, first, median, third, high = sample.quantiles.tolist()
        figure.add_box(
            x=layer_names(n), lowerfence=low, q1=first, median=median, q3=third, upperfence=high,
            name=f"{plain(sample.name, 30)} ({sample.n:,} texts)", marker={"color": colour},
            fillcolor="rgba(0,0,0,0)" if colour in colours[:i] else colour, line={"color": GREY, "width": 1.5},
        )  # fmt: skip
    if len(samples) == 1 and n <= CELLS:
        figure.add_scatter(
            x=layer_names(n), y=samples[0].quantiles[4], text=[f"{m:.2f}" for m in samples[0].quantiles[2]],
            mode="text", textposition="top center", hoverinfo="skip", showlegend=False, cliponaxis=False,
        )  # fmt: skip
    figure.add_hline(
        y=1 / n, line={"color": GREY, "dash": "dot"}, annotation_text=f"uniform 1/{n}", annotation_position="top left"
    )
    layer_axes(figure, n, "weight (median, quartiles)").update_yaxes(rangemode="tozero", showgrid=True)
    figure.update_layout(boxmode="group")
    return finished(figure, plain(title, 80), settings, 380, legend=True)


def difference_heatmap(mean: np.ndarray, heads: np.ndarray | None, title: str, settings: str) -> go.Figure:
    """a minus b, heads x layers and the mean, around zero; the mean alone where heads do not correspond."""
    rows, names = (mean[None], ["mean"]) if heads is None else with_mean(heads, mean)
    n = rows.shape[1]
    figure = go.Figure(heat(rows, names, layer_names(n), of="layer", centred=True))
    layer_axes(figure, n).update_yaxes(autorange="reversed")
    return finished(figure, plain(title, 80), settings, 240 if heads is None else 400)


def contrast_bars(contrast: Contrast, title: str, settings: str) -> go.Figure:
    """Difference of mean weights of two groups, with 95 % intervals."""
    n = len(contrast.mean)
    figure = go.Figure()
    figure.add_bar(
        x=layer_names(n), y=contrast.mean, marker={"color": signs(contrast.mean)},
        error_y={
            "type": "data", "array": contrast.high - contrast.mean, "arrayminus": contrast.mean - contrast.low,
            "color": GREY,
        },
        hovertemplate=f"layer %{{x}}: %{{y:{SIGN}.4f}}<extra></extra>",
    )  # fmt: skip
    if n <= CELLS:
        figure.add_trace(numbers(contrast.mean, contrast.low.tolist(), contrast.high.tolist()))
    a, b = plain(contrast.a, 24), plain(contrast.b, 24)
    layer_axes(figure, n, f"{a} minus {b}").update_yaxes(showgrid=True, zeroline=True, zerolinecolor=GREY)
    texts = f"{contrast.texts[0]:,} and {contrast.texts[1]:,} texts"
    return finished(figure, plain(title, 80), f"{settings} · {texts}", 340)
