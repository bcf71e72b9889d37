"""Only a visitor's latest request for maps is answered; what it still needs of an earlier one goes on being computed.

What the visitor sees is remembered, for every update of the page names it all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from ..store import Cancel

VISITORS = 1_000


@dataclass(frozen=True, eq=False)
class Turn:
    """A request: what is computed for it, and the signal that stops it."""

    wanted: Hashable
    cancel: Cancel = field(default_factory=Cancel)


class Turns:
    """The latest request of every visitor, and what came of it. Thread-safe."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, Turn] = OrderedDict()
        self._seen: dict[str, list[str]] = {}
        self._guard = threading.Lock()

    def begin(self, session: str, wanted: Hashable) -> Turn:
        """The visitor's next request. One for other maps stops the work of the last; one for the same maps, coloured
        otherwise, say, goes on with it."""
        with self._guard:
            before = self._latest.pop(session, None)
            goes_on = before is not None and before.wanted == wanted and not before.cancel.is_set()
            if before is not None and not goes_on:
                before.cancel.set()
            turn = self._latest[session] = Turn(wanted, before.cancel) if before and goes_on else Turn(wanted)
            while len(self._latest) > VISITORS:
                self._seen.pop(self._latest.popitem(last=False)[0], None)
            return turn

    def is_latest(self, session: str, turn: Turn) -> bool:
        """Whether no later request has come."""
        with self._guard:
            return self._latest.get(session) is turn

    def see(self, session: str, shown: list[str]) -> None:
        """Remember what the visitor sees: status, maps, notes, numbers, what moved."""
        with self._guard:
            self._seen[session] = shown

    def seen(self, session: str) -> list[str]:
        """What the visitor sees."""
        with self._guard:
            return self._seen.get(session, [""] * 5)

    def stop(self, session: str) -> None:
        """Stop the work of a visitor's latest request."""
        with self._guard:
            if session in self._latest:
                self._latest[session].cancel.set()
