"""From a document on the maps to other tabs: search with it in Compare, or read it in Layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ..errors import InputError
from .parts import HIDDEN, toast
from .services import Services, readable
from .sidebar import Sidebar, named


def asked_door(services: Services, corpus_name: str, variants: list[str], data: Any) -> tuple[str, str, str]:
    """(tab, text, variant whose layers to read) for a document that is to be opened. What the page sent is checked."""
    document, door = data.get("document"), data.get("door")
    try:
        if door not in ("compare", "layers") or not isinstance(document, str):
            raise InputError("that click named no document to open")
        corpus = services.library.open(corpus_name)
        text = corpus.document(document).passage[:2000]
    except InputError as error:
        raise toast(error) from error
    names = readable(services)
    return door, text, next((name for name in names if name in (variants or [])), next(iter(names), ""))


def open_doors(
    services: Services, sidebar: Sidebar, compare: Any, layers: Any, tabs: gr.Tabs, tables: list[gr.HTML]
) -> None:
    """A document of the maps opens Compare, which searches with its text, or Layers, which reads it."""

    def opened(corpus: str, variants: list[str], event: gr.EventData) -> list[Any]:
        door, text, variant = asked_door(services, corpus, variants, event._data)
        if door == "compare":
            return [gr.Tabs(selected="compare"), text, gr.skip(), gr.skip(), "compare"]
        chosen = gr.Dropdown(choices=named(readable(services)), value=variant)  # it may be new on the shelf
        return [gr.Tabs(selected="layers"), gr.skip(), chosen, text, "layers"]

    where = gr.State("")
    outputs = [tabs, compare.query, layers.variant, layers.text, where]
    for table in tables:
        filled = table.select(opened, [sidebar.corpus, sidebar.variants], outputs, **HIDDEN)
        filled.success(**_only("compare", where, compare.search)).then(**_only("layers", where, layers.read))


def _only(door: str, where: gr.State, event: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an event, which does nothing unless that door was taken."""
    inner, outputs = event["fn"], event["outputs"]
    skipped = [gr.skip()] * len(outputs)
    if door == "compare":  # a generator that takes the request first

        def search(request: gr.Request, taken: str, *values: Any) -> Iterator[Any]:
            if taken == door:
                yield from inner(request, *values)
            else:
                yield tuple(skipped)

        return event | {"fn": search, "inputs": [where, *event["inputs"]]}

    def read(taken: str, *values: Any) -> Any:
        return inner(*values) if taken == door else skipped

    return event | {"fn": read, "inputs": [where, *event["inputs"]]}
