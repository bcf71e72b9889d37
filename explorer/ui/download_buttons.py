"""Download buttons: each makes its file from the settings on the page, then hands it to the browser."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import InputError
from .parts import toast

HANDED = 600
"""Seconds for which a file that was made is kept."""


@dataclass
class Downloads:
    """Visible buttons, and the hidden one that hands a prepared file to the browser."""

    buttons: list[gr.Button]
    hidden: gr.DownloadButton
    press: str


def draw(name: str, labels: Sequence[str]) -> Downloads:
    """A row of buttons. `name` tells rows apart."""
    with gr.Row(elem_id=f"downloads-{name}"):
        buttons = [
            gr.Button(f"↓ {text}", size="sm", min_width=170, scale=0, elem_id=f"download-{name}-{i}")
            for i, text in enumerate(labels)
        ]
        hidden = gr.DownloadButton(visible="hidden", elem_id=f"file-{name}", elem_classes="px-file")
    find = f"const b = document.querySelector('#file-{name}'); (b.querySelector('a, button') || b).click();"
    return Downloads(buttons, hidden, f"() => setTimeout(() => {{ {find} }}, 300)")


def wire(downloads: Downloads, makers: Sequence[Callable[..., str]], inputs: list[Any]) -> None:
    """Each button calls its maker, which returns a file's path; an `InputError` is shown and nothing is downloaded."""

    def guarded(make: Callable[..., str]):
        def prepare(*values: Any) -> str:
            try:
                return make(*values)
            except InputError as error:
                raise toast(error) from error

        return prepare

    for button, make in zip(downloads.buttons, makers, strict=True):
        button.click(guarded(make), inputs, downloads.hidden, api_visibility="private", show_progress="hidden").success(
            fn=None, js=downloads.press
        )


@cache
def _handed() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="pooling-explorer-downloads-", ignore_cleanup_errors=True)


def file(name: str, content: str | bytes) -> str:
    """Path of a temporary file; gradio copies it at once to its own cache, which the page empties by itself."""
    folder = Path(_handed().name)
    for old in folder.iterdir():
        with suppress(FileNotFoundError):  # another call was faster
            if time.time() - old.stat().st_mtime > HANDED:
                shutil.rmtree(old, ignore_errors=True)
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return str(path)
