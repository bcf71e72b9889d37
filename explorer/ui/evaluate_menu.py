"""What the Evaluate tab offers: tasks with type, language and size, and how long they would take here.

The list is read on first use: mteb takes seconds to import, and the built-in tasks read their corpora.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluation.builtin import BUILT_IN
from ..evaluation.estimates import measure_speed, seconds_of
from ..evaluation.tasks import Task, make_task
from .services import Services

if TYPE_CHECKING:
    from ..encoder import Encoder

Choices = list[tuple[str, str]]


def folder_of(data_dir: str | None) -> Path | None:
    """The folder that was typed; None for none. Raises `InputError` if it does not exist."""
    if not (data_dir or "").strip():
        return None
    folder = Path(str(data_dir).strip()).expanduser()
    if not folder.is_dir():
        raise InputError(f"the data folder '{folder}' does not exist")
    return folder


class Menu:
    """Tasks by how they are asked for, each made once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._known: dict[tuple[str, Path | None], Task] = {}
        self._speeds: dict[str, float] = {}

    def task(self, asked: str, folder: Path | None = None) -> Task:
        """The task of that name; makes it if it is new. Raises `InputError`."""
        key = (asked, None if asked in BUILT_IN else folder)
        with self._lock:
            if key not in self._known:
                self._known[key] = make_task(asked, key[1])
            return self._known[key]

    def known(self, asked: str, folder: Path | None = None) -> Task | None:
        """The task of that name if it was made before; reads nothing."""
        return self._known.get((asked, None if asked in BUILT_IN else folder))

    def built_in(self) -> list[Task]:
        """Those that need no download."""
        return [self.task(name) for name in BUILT_IN]

    def small(self, folder: Path | None) -> list[Task]:
        """The quick menu of official tasks, and before it all whose data lies in the folder."""
        from ..evaluation.catalogue import QUICK, local_tasks

        here = [self.task(name, folder) for name in (local_tasks(folder) if folder else [])]
        quick = [self.task(name, folder) for of in QUICK.values() for name in of]
        return list({task.name: task for task in [*sorted(here, key=lambda task: task.type), *quick]}.values())

    def names(self) -> list[str]:
        """All official text tasks."""
        from ..evaluation.official import registry

        return sorted(registry(), key=str.lower)

    def speed(self, encoder: Encoder, anew: bool = False) -> float:
        """Characters a second of an encoder, measured once unless asked for anew."""
        key = encoder.key("document")
        with self._lock:
            if anew or key not in self._speeds:
                self._speeds[key] = measure_speed(encoder)
            return self._speeds[key]

    def ready(self) -> bool:
        """Whether `built_in` answers at once."""
        return all(self.known(name) for name in BUILT_IN)


LANGUAGES = {
    "ara": "Arabic", "deu": "German", "eng": "English", "fra": "French", "hin": "Hindi", "ita": "Italian",
    "jpn": "Japanese", "kor": "Korean", "nld": "Dutch", "pol": "Polish", "por": "Portuguese", "rus": "Russian",
    "spa": "Spanish", "swe": "Swedish", "tur": "Turkish", "zho": "Chinese",
}  # fmt: skip
"""Codes of languages in words; others are shown as they are."""


def rough(seconds: float) -> str:
    """A time that was estimated: 40 s, 3 min, 2 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{max(1, round(seconds))} s"


def card(task: Task, seconds: float | None = None) -> str:
    """A task as a choice: its name, and below it type, language, size, time, and where its data is."""
    some = ", ".join(LANGUAGES.get(code, code) for code in task.languages[:2]) + (
        f" + {len(task.languages) - 2}" if len(task.languages) > 2 else ""
    )
    size = f"{task.samples:,} texts" if task.samples else ""
    if not size and task.characters:
        size = f"{task.characters / 1e6:.1f} M characters"
    time = "" if seconds is None else f"about {rough(seconds)}"
    here = "in your folder" if task.source == "local" else ""
    return f"{task.name}\n{' · '.join(part for part in (task.type, some, size, time, here) if part)}"


def cards(tasks: Sequence[Task], speeds: Mapping[str, float], sample: int | None) -> Choices:
    """Tasks as choices of a list, with the time all these variants take."""
    seconds = seconds_of(tasks, speeds, sample) if speeds else {}
    return [(card(task, seconds.get(task.name)), task.name) for task in tasks]


def plain_cards() -> Choices:
    """The built-in tasks before anything was read."""
    return [(name, name) for name in BUILT_IN]


def speeds_of(services: Services, menu: Menu, variants: Sequence[str], load: bool = False) -> dict[str, float]:
    """Characters a second of each variant that is loaded; of all, loading them and measuring anew,
    with `load`. Raises `InputError`.

    BM25 encodes nothing and is left out.
    """
    dense = [v.name for v in map(services.shelf.find, variants) if v.source != "lexical"]
    there = services.shelf.loaded
    return {name: menu.speed(services.shelf.load(name), load) for name in dense if load or name in there}


def time_of(
    services: Services, tasks: Sequence[Task], variants: Sequence[str], speeds: Mapping[str, float], sample: int | None
) -> str:
    """How long the chosen tasks take with the chosen variants, in words; empty for nothing chosen."""
    if not tasks or not variants:
        return ""
    try:
        dense = [v.name for v in map(services.shelf.find, variants) if v.source != "lexical"]
    except InputError:
        return ""
    unknown = [name for name in dense if name not in speeds]
    if unknown:
        return f"Not loaded yet: {', '.join(unknown)}. “Estimate time” loads and measures."
    total = sum(seconds_of(tasks, {name: speeds[name] for name in dense}, sample).values())
    vague = [task.name for task in tasks if task.characters is None]
    guess = f" The size of {', '.join(vague)} is not known and was guessed." if vague else ""
    return f"About {rough(total)} of encoding on this machine, scoring aside.{guess}"
