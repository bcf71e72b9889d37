"""Only a visitor's latest request for maps is answered; what it still needs of an earlier one goes on being computed.

What the visitor sees is remembered. Every update of the page names it all, and gradio repeats the last update of a
request when that ends: so a request that is overtaken ends after the latest one, with what that came to.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ..store import Cancel

VISITORS = 1_000

Update = list[Any]
"""Of (status, maps, notes, numbers, what moved, colour, A, B, machine). Always of all of them: where gradio skips a
component just before or after it gets a value, the value may be lost."""


@dataclass(eq=False)
class Turn:
    """A request: what is computed for it, the signal that stops it, what the visitor sees of it."""

    wanted: Hashable
    seen: Update
    cancel: Cancel = field(default_factory=Cancel)
    is_over: bool = False


class Turns:
    """The latest request of every visitor. Thread-safe."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, Turn] = OrderedDict()
        self._guard = threading.Lock()

    def latest(self, session: str) -> Turn | None:
        """The visitor's latest request."""
        with self._guard:
            return self._latest.get(session)

    def begin(self, session: str, wanted: Hashable, seen: Update) -> Turn:
        """The visitor's next request. One for other maps stops the work of the last; one for the same maps, coloured
        otherwise, say, goes on with it."""
        with self._guard:
            before, turn = self._latest.pop(session, None), Turn(wanted, seen)
            if before is not None and before.wanted == wanted and not before.cancel.is_set():
                turn.cancel = before.cancel
            elif before is not None:
                before.cancel.set()
            self._latest[session] = turn
            while len(self._latest) > VISITORS:
                self._latest.popitem(last=False)
            return turn

    def stop(self, session: str) -> None:
        """Stop the work of a visitor's latest request."""
        latest = self.latest(session)
        if latest is not None:
            latest.cancel.set()
