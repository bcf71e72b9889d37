"""Two variants field by field: what differs first, what is the same folded away. Plain functions, and their wiring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import gradio as gr

from ..errors import InputError
from ..variants import Variant
from . import texts
from .html import SCROLLS, chip, esc, note, number, problem
from .parts import HIDDEN, panel
from .services import Services
from .sidebar import named

NO_VALUE = "–"
LEFT_OUT = {"command", "curve", "dev", "layer_weights", "config", "stopped", "seed", "data"}
"""Parts of a training record that are long, or stand in its configuration as well."""


def fields(variant: Variant) -> dict[tuple[str, str], Any]:
    """(group, field) -> value, of everything that is known of a variant."""
    found: dict[tuple[str, str], Any] = {
        ("variant", "source"): variant.source,
        ("variant", "backbone"): variant.backbone,
    }
    if variant.design is not None:
        found["design", "pooling"] = variant.design.pooling
        found["design", "attention"] = variant.design.attention
        if variant.design.pooling == "last-layer":
            found["design", "reads"] = variant.design.reads
    training = variant.record.get("training", {})
    groups: dict[str, Mapping[str, Any]] = {
        "texts": variant.record.get("texts", {}),
        "pooler": variant.record.get("pooler") or {},
        "training": {key: value for key, value in training.items() if key not in LEFT_OUT},
        "configuration": training.get("config", {}),
        "scores": variant.scores,
    }
    if "parameters" in variant.record:
        found["variant", "parameters trained"] = variant.record["parameters"]
    for group, values in groups.items():
        for name, value in values.items():
            flat = value.items() if isinstance(value, Mapping) else [("", value)]
            found.update({(group, f"{name} {inner}".strip().replace("_", " ")): v for inner, v in flat})
    return found


def shown(value: Any) -> str:
    """A value as a cell reads."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(PurePath(str(one)).name for one in value) or NO_VALUE
    return NO_VALUE if value in ("", None) else str(value)


def compared(a: Variant, b: Variant) -> str:
    """Both variants' fields as two tables: those that differ, and folded those that do not."""
    left, right = fields(a), fields(b)
    names = list(dict.fromkeys([*left, *right]))
    same = [
        name for name in names if left.get(name) == right.get(name) or shown(left.get(name)) == shown(right.get(name))
    ]
    differ = [name for name in names if name not in same]
    if not differ:
        told = note("Nothing that is recorded of the two differs.")
    else:
        told = _table(a, b, [_row(name, left.get(name), right.get(name)) for name in differ])
    folded = _table(a, b, [_row(name, left.get(name), right.get(name)) for name in same])
    return f"{told}<details><summary>{len(same)} fields are the same</summary>{folded}</details>"


def _row(name: tuple[str, str], left: Any, right: Any) -> str:
    group, field = name
    if group == "scores":
        known = isinstance(left, float) and isinstance(right, float)
        cells = [number(value) if isinstance(value, float) else NO_VALUE for value in (left, right)]
        gap = f" <small>{right - left:+.3f}</small>" if known and left != right else ""
        cells = [esc(cells[0]), f"{esc(cells[1])}{gap}"]
    else:
        cells = [esc(shown(left)), esc(shown(right))]
    head = f'<th scope="row"><small>{esc(group)}</small> {esc(field)}</th>'
    return f'<tr>{head}<td class="words">{cells[0]}</td><td class="words">{cells[1]}</td></tr>'


def _table(a: Variant, b: Variant, rows: list[str]) -> str:
    head = "".join(f'<th scope="col" class="words">{chip(v.name)}</th>' for v in (a, b))
    return (
        f'<div class="scroll" {SCROLLS}><table class="fields"><thead><tr><th scope="col">field</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def build_fields(services: Services) -> None:
    """Draw and wire it."""
    names = [v.name for v in services.shelf.variants]
    trained = [name for name in services.default_variants() if services.shelf.find(name).source == "checkpoint"]
    first, second = trained[-2:] if len(trained) > 1 else (names[0], names[-1])
    with gr.Accordion(texts.FIELDS, open=False, elem_id="fields") as opened:
        with gr.Row():
            a = gr.Dropdown(named(names), value=first, label="Variant A", elem_id="fields-a")
            b = gr.Dropdown(named(names), value=second, label="Variant B", elem_id="fields-b")
        table = panel(elem_id="fields-table")

    def show(first: str, other: str) -> str:
        try:
            return compared(services.shelf.find(first), services.shelf.find(other))
        except InputError as error:
            return problem(error)

    def choices() -> list[gr.Dropdown]:
        present = named([v.name for v in services.shelf.variants])
        return [gr.Dropdown(choices=present), gr.Dropdown(choices=present)]

    opened.expand(choices, None, [a, b], **HIDDEN).then(show, [a, b], table, **HIDDEN)
    gr.on([a.input, b.input], show, [a, b], table, **HIDDEN)
