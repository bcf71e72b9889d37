"""What stands on the page where a feature is closed."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..policy import CLOSED, Feature, Policy, on_spaces
from .html import esc
from .parts import panel

INSTEAD: dict[Feature, str] = {
    "train": "How the variants here were trained stands in Variants.",
    "evaluate": "Scores of the variants here stand in Variants, a finished comparison of designs in Study.",
}
"""Where to look meanwhile."""


def closed_note(policy: Policy, feature: Feature, heading: str = "") -> None:
    """Why the feature is closed, and how to have it: on a Space, a button that duplicates it."""
    title = f"<h2>{esc(heading)}</h2>" if heading else ""
    said = f'<p class="px-note" role="note">{esc(CLOSED[feature])} {esc(policy.remedy)}</p>'
    instead = f'<p class="help">{esc(INSTEAD[feature])}</p>' if feature in INSTEAD else ""
    panel(f"{title}{said}{duplicate()}{instead}", elem_id=f"closed-{feature}")


def duplicate() -> str:
    """A link, drawn as a button, that makes a copy of this Space under the visitor's own name; empty elsewhere."""
    if not on_spaces():
        return ""
    address = f"https://huggingface.co/spaces/{quote(on_spaces())}?duplicate=true"
    return f'<p><a class="button" href="{esc(address)}" target="_blank" rel="noopener">Duplicate this Space</a></p>'


def shown_if(policy: Policy, feature: Feature) -> dict[str, Any]:
    """Visibility of a component that only an open feature needs."""
    return {"visible": policy.allows(feature)}
