"""What was computed for a map, kept: in memory up to a limit, and what took long on disk. One computation at a time."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled
from ..layers.lab import StageProgress
from ..store import Cancel, cache_dir, content_hash, whole_file

log = logging.getLogger(__name__)

HELD_BYTES = 256 * 2**20
"""Neighbours, positions and numbers held in memory."""
FORMAT = "map-1"
"""Changes when what is stored changes, so that nothing stale is read."""

Key = tuple[Any, ...]
Arrays = tuple[np.ndarray, ...]


class Kept:
    """Values by keys that name everything they depend on. Thread-safe.

    `folder`: where a value lies on disk, if not in the cache; that of a visitor's corpus goes with it.
    """

    def __init__(self) -> None:
        self._memory: OrderedDict[Key, Any] = OrderedDict()
        self._guard = threading.Lock()
        self._computing = threading.RLock()  # what is computed may ask for other values
        self._counting = threading.Lock()
        self._doing: tuple[str, int, int] | None = None

    def memory(self, key: Key, compute: Callable[[], Any]) -> Any:
        """From memory, or computed."""
        made = self._held(key)
        return self._hold(key, compute()) if made is None else made

    def alone(self, key: Key, compute: Callable[[], Any], cancel: Cancel | None = None) -> Any:
        """As `memory`, but one at a time: scikit-learn limits the threads of its libraries for the whole process.

        Raises `Cancelled`.
        """
        made = self._held(key)
        if made is not None:
            return made
        with _taken(self._counting, cancel):
            return self.memory(key, compute)

    def _held(self, key: Key) -> Any:
        with self._guard:
            if key in self._memory:
                self._memory.move_to_end(key)
            return self._memory.get(key)

    def _hold(self, key: Key, made: Any) -> Any:
        with self._guard:
            self._memory[key] = made
            while len(self._memory) > 1 and sum(map(_bytes, self._memory.values())) > HELD_BYTES:
                self._memory.popitem(last=False)
        return made

    def stored(
        self,
        key: Key,
        compute: Callable[[StageProgress], Arrays],
        progress: StageProgress | None,
        cancel: Cancel | None,
        folder: Path | None = None,
    ) -> Arrays:
        """From memory, from disk, or computed by one thread and written whole. Raises `Cancelled`."""
        known = self.known(key, folder)
        if known is None:
            with self.turn(progress, cancel) as report:
                known = self.known(key, folder)  # another thread may have made it meanwhile
                return self.write(key, compute(report), folder) if known is None else known
        return known

    def known(self, key: Key, folder: Path | None = None) -> Arrays | None:
        """From memory or from disk; None where it is not there."""
        held = self._held(key)
        if held is not None:
            return held
        stored = _read(self._path(key, folder))
        return None if stored is None else self._hold(key, stored)

    def has(self, key: Key, folder: Path | None = None) -> bool:
        """Whether `known` need not look in vain."""
        return self._held(key) is not None or self._path(key, folder).is_file()

    def write(self, key: Key, made: Arrays, folder: Path | None = None) -> Arrays:
        """Keep in memory and on disk."""
        with whole_file(self._path(key, folder)) as temporary, temporary.open("wb") as file:
            np.savez(file, *made)
        return self._hold(key, made)

    @staticmethod
    def _path(key: Key, folder: Path | None) -> Path:
        return (
            folder or cache_dir("maps")
        ) / f"{content_hash([FORMAT, version('umap-learn'), *map(str, key)])[:40]}.npz"

    @contextmanager
    def turn(self, progress: StageProgress | None, cancel: Cancel | None) -> Iterator[StageProgress]:
        """One computation after the other, as they share the cores. Yields what to report to; those that wait see it.

        Raises `Cancelled`.
        """

        def report(stage: str, done: int, total: int) -> None:
            self._doing = stage, done, total
            if progress is not None:
                progress(stage, done, total)

        def waiting() -> None:
            if progress is not None and self._doing is not None:
                progress(*self._doing)

        with _taken(self._computing, cancel, waiting):
            try:
                yield report
            finally:
                self._doing = None


@contextmanager
def _taken(lock: Any, cancel: Cancel | None, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A lock, waited for until `cancel`."""
    while not lock.acquire(timeout=0.2):
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped before its turn came")
        waiting()
    try:
        yield
    finally:
        lock.release()


def _read(path: Any) -> Arrays | None:
    """Stored arrays; None when there are none or the file is damaged (it is computed again)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return tuple(file[name] for name in file.files)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError, KeyError) as error:
        log.warning("map cache %s is damaged and computed again: %s", path.name, error)
        return None


def _bytes(value: Any) -> int:
    """About how much memory a kept value takes."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(_bytes, value))
    return sum(v.nbytes for v in getattr(value, "__dict__", {}).values() if isinstance(v, np.ndarray))
