"""What stands on the page where a feature is closed."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..policy import CLOSED, Feature, Policy, on_spaces
from .html import esc
from .parts import panel


def closed_note(policy: Policy, feature: Feature, heading: str = "") -> None:
    """What stands where a closed feature would: why, and how to have it."""
    title = f"<h2>{esc(heading)}</h2>" if heading else ""
    name = f"closed-{feature}"
    panel(f'{title}<p class="px-note" role="note">{esc(CLOSED[feature])} {esc(policy.remedy)}</p>', elem_id=name)
    if on_spaces():
        gr.DuplicateButton("Duplicate this Space", elem_id=f"duplicate-{feature}", size="md", min_width=220)


def shown_if(policy: Policy, feature: Feature) -> dict[str, Any]:
    """Visibility of a component that only an open feature needs."""
    return {"visible": policy.allows(feature)}
