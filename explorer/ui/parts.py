"""Small pieces of page that several tabs use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..run import Run
from .html import esc

JS = (Path(__file__).parent / "compare.js").read_text(encoding="utf-8")
"""Marks a document in all columns; reports clicks on judgments and queries."""

HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Of handlers that belong to the page alone and show their progress themselves."""


def toast(error: Exception) -> gr.Error:
    """An error that gradio shows in a corner of the page; it would read the text as markup."""
    return gr.Error(esc(error), print_exception=False)


def switch(event: Any, timers: Sequence[gr.Timer], active: bool) -> None:
    """Timers begin or stop to tick with an event, in the browser: an answer of the server may come after that to a
    later event, and would leave them the wrong way."""
    one = f"{{ __type__: 'update', active: {str(active).lower()} }}"
    event(fn=None, inputs=None, outputs=list(timers), js=f"() => [{', '.join([one] * len(timers))}]")


def panel(value: str = "", **options: Any) -> gr.HTML:
    """HTML of ours, in the page's own style sheet. What it shows was escaped by `html.esc`."""
    return gr.HTML(value, elem_classes=["px"], apply_default_css=False, **({"js_on_load": None} | options))


def command_box(elem_id: str) -> gr.Code:
    """The command line that does the same, to be copied."""
    return gr.Code(
        language="shell", show_label=False, interactive=False, wrap_lines=True, lines=1, buttons=["copy"], elem_id=elem_id,
    )  # fmt: skip


def run_buttons(run: Run) -> list[Any]:
    """Updates of the buttons Stop, Resume and Delete of a background run."""
    return [
        gr.Button(interactive=run.is_active or run.state == "queued"),
        gr.Button(interactive=run.can_resume),
        gr.Button(interactive=run.is_over),
    ]
