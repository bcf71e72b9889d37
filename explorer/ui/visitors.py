"""Who asks, and where that person's corpora and judgments are.

On one's own machine everybody who opens the page is the same person: the data directory. With a login every user has a
folder of their own below it. In a public demo every open page has a temporary folder, which nobody else can name: it is
found by the key that the page sends with each call, and goes when the page is closed.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from gradio.context import LocalContext

from ..corpora.library import Library, safe_name
from ..policy import Policy
from ..store import data_dir

USERS = "users"
NO_PAGE = "this call belongs to no page of the demo, so nothing can be kept for it; open the page and do it there"
GRACE = 60.0
"""Seconds after a page was closed: a connection that broke comes back, and what was being computed ends."""
IDLE = 3600.0
"""Seconds without a call after which a page counts as closed."""
MOST = 200
"""Open pages with documents; the one that was idle longest gives way."""


@dataclass
class _Visit:
    library: Library
    folder: Path
    seen: float
    left: float | None = None


class Visitors:
    """Finds the library of whoever makes the current call. Thread-safe."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.shared = Library(limits=policy.limits)
        """One's own machine: the data directory. Elsewhere only what is built in is taken from it."""
        self.nobody = Library(built_in=self.shared, closed=NO_PAGE)
        self._users: dict[str, Library] = {}
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._root: Path | None = None
        self._guard = threading.Lock()

    def library(self) -> Library:
        """That of the current call."""
        request = LocalContext.request.get(None)
        if self.policy.demo:
            return self._of_page(getattr(request, "session_hash", None))
        if self.policy.login:
            return self._of_user(getattr(request, "username", None))
        return self.shared

    def _of_user(self, name: str | None) -> Library:
        if not name:
            return self.nobody
        with self._guard:
            if name not in self._users:
                folder = data_dir(USERS) / f"{safe_name(name)}-{sha256(name.encode()).hexdigest()[:12]}"
                self._users[name] = Library(folder, built_in=self.shared, limits=self.policy.limits)
            return self._users[name]

    def _of_page(self, key: str | None) -> Library:
        if not key:
            return self.nobody
        with self._guard:
            visit = self._visits.get(key)
            if visit is None:
                self._sweep()
                folder = Path(tempfile.mkdtemp(prefix="visitor-", dir=self.temporary("visitors")))
                library = Library(folder, built_in=self.shared, limits=self.policy.limits, temporary=True)
                visit = self._visits[key] = _Visit(library, folder, time.monotonic())
            visit.seen, visit.left = time.monotonic(), None
            self._visits.move_to_end(key)
            return visit.library

    def leave(self, key: str | None) -> None:
        """A page was closed: what it kept goes soon, unless the page is heard of again."""
        with self._guard:
            visit = self._visits.get(key or "")
            if visit is None:
                return
            visit.left = time.monotonic()
        later = threading.Timer(GRACE + 1, self.sweep)
        later.daemon = True
        later.start()

    def sweep(self) -> None:
        """Delete what closed pages kept."""
        with self._guard:
            self._sweep()

    def _sweep(self) -> None:
        now = time.monotonic()
        gone = [
            key
            for key, visit in self._visits.items()
            if now - visit.seen > IDLE or (visit.left is not None and now - visit.left > GRACE)
        ]
        gone += list(self._visits)[: max(0, len(self._visits) - len(gone) - MOST + 1)]
        for key in dict.fromkeys(gone):
            self._visits.pop(key)
        if self._root is not None:  # also folders that a computation wrote to after its page had gone
            kept = {visit.folder.name for visit in self._visits.values()}
            for folder in self.temporary("visitors").iterdir():
                if folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def temporary(self, name: str) -> Path:
        """A folder that goes when the app ends."""
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="pooling-explorer-"))
            atexit.register(self.close)
        folder = self._root / name
        folder.mkdir(exist_ok=True)
        return folder

    def close(self) -> None:
        """Delete what all pages kept: the app ends."""
        root, self._root = self._root, None
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)
