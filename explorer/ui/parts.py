"""Small pieces of page that several tabs use."""

from __future__ import annotations

from typing import Any

import gradio as gr


def panel(value: str = "", **options: Any) -> gr.HTML:
    """HTML of ours, in the page's own style sheet. What it shows was escaped by `html.esc`."""
    return gr.HTML(value, elem_classes=["px"], apply_default_css=False, **({"js_on_load": None} | options))
