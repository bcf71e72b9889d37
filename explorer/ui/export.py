"""Export in the Variants tab: a variant as a SentenceTransformer folder, saved as a zip or pushed to the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import Cancelled, InputError
from ..exporting import Weights, archive, check_repository, export, push
from ..styles import label
from . import texts
from .closed import closed_note
from .html import mib, note, problem
from .parts import panel
from .services import Services

WEIGHTS = [
    ("merged: all weights in the folder", "merged"),
    ("adapter: the backbone comes from its own place", "adapter"),
]
PRESS = "() => setTimeout(() => (b => (b.querySelector('a, button') || b).click())(document.querySelector('#file-export')), 300)"


def build_export(services: Services, chosen: gr.Dropdown) -> None:
    """Draw and wire it; `chosen` is the tab's variant."""
    if not services.policy.allows("push"):
        closed_note(services.policy, "push")
        return
    with gr.Accordion(texts.EXPORT, open=False, elem_id="export"):
        panel(f"<p class='help'>{texts.EXPORT_HELP}</p>")
        with gr.Row(elem_classes="beside"):
            weights = gr.Radio(WEIGHTS, value="merged", label="Weights", elem_id="export-weights", scale=3)
            save = gr.Button("↓ Export as zip", size="sm", scale=0, min_width=160, elem_id="export-zip")
        with gr.Row(elem_classes="beside"):
            repository = gr.Textbox(
                label="Repository on the hub", placeholder="owner/name", elem_id="export-repository", scale=2
            )
            public = gr.Checkbox(label="Public: everyone can see it", elem_id="export-public", scale=1)
            upload = gr.Button("Push to the hub", size="sm", scale=0, min_width=160, elem_id="export-push")
        said = panel(elem_id="export-said")
        file = gr.DownloadButton(visible="hidden", elem_id="file-export")

    def as_zip(name: str | None, kind: Weights) -> Iterator[tuple[str, Any]]:
        yield from _told(services, lambda folder: _zipped(services, name, kind, folder), name)

    def to_hub(name: str | None, kind: Weights, address: str, seen: bool) -> Iterator[str]:
        for said, _ in _told(
            services, lambda folder: _pushed(services, name, kind, address.strip(), seen, folder), name
        ):
            yield said

    work: dict[str, Any] = {
        "api_visibility": "private",
        "concurrency_id": "export",
        "concurrency_limit": 1,
        "show_progress": "hidden",
    }
    save.click(as_zip, [chosen, weights], [said, file], **work).success(
        fn=None, inputs=file, js=f"f => f && ({PRESS})()"
    )
    upload.click(to_hub, [chosen, weights, repository, public], said, **work)


def _told(services: Services, make: Callable[[Path], tuple[str, Any]], name: str | None) -> Iterator[tuple[str, Any]]:
    """A sentence while it is made, then the one that `make` gives with its file; or what was wrong, and no file."""
    yield note(f"Writing {label(name)} in float32 …" if name else "", "busy"), None
    with tempfile.TemporaryDirectory(prefix="pooling-explorer-") as folder:
        try:
            services.policy.allow("push")
            if not name:
                raise InputError("choose a variant above first")
            said, file = make(Path(folder))
        except (InputError, Cancelled) as error:
            yield problem(error), None
            return
        yield note(said), file


def _zipped(services: Services, name: str | None, kind: Weights, folder: Path) -> tuple[str, str]:
    made = archive(export(name or "", folder / file_name(name or ""), services.shelf, kind))
    return (
        f"{made.name}, {mib(made.stat().st_size)}: unpack it, then SentenceTransformer(“{made.stem}”, trust_remote_code=True).",
        str(made),
    )


def _pushed(
    services: Services, name: str | None, kind: Weights, address: str, seen: bool, folder: Path
) -> tuple[str, None]:
    check_repository(address)
    made = export(name or "", folder / file_name(name or ""), services.shelf, kind, place=address)
    return f"Pushed to {push(made, address, not seen)}.", None


def file_name(variant: str) -> str:
    """A variant's name as the name of a folder."""
    return variant.replace("/", "-")
