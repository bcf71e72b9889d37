"""What the maps on the page ask the server for: positions and colour codes once, texts when they are wanted.

Everything is found under a key that names its content; what comes from the page is checked.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..figures.space import bounds, colours, point_size, symbols
from ..projection.lab import MapLab, Space, Star
from ..projection.quality import Quality
from ..projection.shading import Shading
from ..store import content_hash
from ..styles import label, style
from .html_map import told

HERE = Path(__file__).parent
JS = "".join((HERE / name).read_text(encoding="utf-8") for name in ("map_points.js", "map.js", "map_use.js"))
TABLE_JS = (HERE / "map_table.js").read_text(encoding="utf-8")
HELD = 200
"""Maps and shadings that pages can still ask for."""
NEAR = 10
"""Neighbours shown of a document."""
TEXTS_AT_ONCE = 200
GONE = "this map is no longer held; press Draw"


def packed(array: np.ndarray) -> str:
    """An array's bytes, little-endian, in base64."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


STEPS = 2**16 - 1
"""Places along the side of a map: finer than a screen shows, magnified a hundred times."""


def stepped(xy: np.ndarray, x: Sequence[float], y: Sequence[float]) -> np.ndarray:
    """Positions [n, 2] inside the ranges x and y as whole steps from 0 to `STEPS`: uint16 [n, 2]."""
    low, high = np.array([x[0], y[0]]), np.array([x[1], y[1]])
    return np.rint((xy - low) / (high - low) * STEPS).astype(np.uint16)


def guarded(answer: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """An `InputError` becomes {"error": sentence}: the page shows it where the user looks."""

    @wraps(answer)
    def run(asked: Any) -> dict[str, Any]:
        try:
            return answer(asked)
        except InputError as error:
            return {"error": str(error)}

    return run


class Drawings:
    """Spaces and shadings that pages show, by key, and the answers to what the pages ask. Thread-safe."""

    def __init__(self, lab: MapLab) -> None:
        self.lab = lab
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._guard = threading.Lock()

    def keep(self, key: str, value: Any) -> str:
        """Hold a space or shading; its key."""
        with self._guard:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return key

    def _get(self, key: Any, kind: type) -> Any:
        with self._guard:
            found = self._held.get(key) if isinstance(key, str) else None
        if not isinstance(found, kind):
            raise InputError(GONE)
        return found

    def space(self, key: Any) -> Space:
        """The space of that key; `InputError` if it is not held."""
        return self._get(key, Space)

    @property
    def functions(self) -> list[Callable[[Any], dict[str, Any]]]:
        """What map.js calls as `server.NAME(argument)`."""

        def points(key: Any) -> dict[str, Any]:
            maps = self.space(key).positions
            return {"maps": [packed(stepped(xy, *bounds(maps))) for xy in maps.values()]}

        def codes(key: Any) -> dict[str, Any]:
            shading: Shading = self._get(key, Shading)
            return {
                "title": shading.title,
                "kind": shading.kind,
                "names": [name[:80] for name in shading.names],
                "colours": colours(shading),
                "symbols": symbols(shading),
                "rest": shading.rest,
                "note": shading.note,
                "packed": {name: packed(values) for name, values in shading.codes.items()},
            }

        def about(asked: Any) -> dict[str, Any]:
            space, rows = self.space(part(asked, "key")), part(asked, "rows")
            rows = checked_rows(space, rows)[:TEXTS_AT_ONCE]
            return {"documents": [described(space, row) for row in rows]}

        def find(asked: Any) -> dict[str, Any]:
            space, text = self.space(part(asked, "key")), part(asked, "text")
            return {"rows": found_rows(space, text)}

        def near(asked: Any) -> dict[str, Any]:
            space = self.space(part(asked, "key"))
            row = checked_rows(space, [part(asked, "row")])[0]
            return {name: [r for r, _ in found] for name, found in neighbours_of(self.lab, space, row).items()}

        return [guarded(f) for f in (points, codes, about, find, near)]


def part(asked: Any, name: str) -> Any:
    """A part of what the page sent; None where it is not there."""
    return asked.get(name) if isinstance(asked, Mapping) else None


def checked_rows(space: Space, rows: Any) -> list[int]:
    """Rows of documents that the page sent. Raises `InputError` for anything else."""
    n = len(space.corpus)
    if not isinstance(rows, list) or not rows:
        raise InputError("that choice named no document")
    if not all(isinstance(r, int) and not isinstance(r, bool) and 0 <= r < n for r in rows):
        raise InputError("that choice named a document that is not there")
    return rows


def described(space: Space, row: int) -> dict[str, Any]:
    """What hovering shows of a document."""
    document = space.corpus.documents[row]
    text = " ".join(document.text.split())
    return {
        "row": row,
        "title": (document.title or document.id)[:120],
        "label": document.label[:60],
        "text": text[:140],
    }


def found_rows(space: Space, text: Any) -> list[int]:
    """Rows of documents that hold all words of a text, in their id, title, text or label, whatever the case."""
    if not isinstance(text, str) or not text.strip():
        raise InputError("type a word to look for")
    words = text[:200].lower().split()
    return [
        row
        for row, d in enumerate(space.corpus.documents)
        if all(word in f"{d.id} {d.title} {d.label} {d.text}".lower() for word in words)
    ]


def neighbours_of(lab: MapLab, space: Space, row: int, k: int = NEAR) -> dict[str, list[tuple[int, float]]]:
    """The k nearest documents of one, by variant, in the original space: (row, cosine)."""
    corpus = space.corpus
    return {
        name: [(corpus.position[id], score) for id, score in lab.nearest(name, corpus, corpus.ids[row], k)]
        for name in space.names
    }


_asked = count()
"""A message that is sent anew differs from the one before, so that a page that could not draw tries again."""


def message(space: Space, shade: str, qualities: Mapping[str, Quality] | None, stars: Mapping[str, Star] | None) -> str:
    """What map.js draws by: small, without positions and texts."""
    x, y = bounds(space.positions)
    names = [
        {
            "name": name,
            "label": label(name),
            "symbol": style(name).symbol,
            "colour": style(name).colour,
            "told": told(qualities.get(name) if qualities else None),
        }
        for name in space.names
    ]
    found = {
        "key": space.key,
        "corpus": f"{space.corpus.name} {space.corpus.content_hash}",
        "n": len(space.corpus),
        "drawn": space.drawn,
        "names": names,
        "x": x,
        "y": y,
        "size": point_size(len(space.corpus)),
        "shade": shade,
        "star": {name: {"xy": s.xy, "rows": s.rows} for name, s in stars.items()} if stars else None,
        "asked": next(_asked),
    }
    return json.dumps(found)


def shade_key(shading: Shading) -> str:
    """Names the content of a shading."""
    parts = [shading.title, shading.note, *shading.names]
    return content_hash([*parts, *(p for name, c in shading.codes.items() for p in (name, c.tobytes()))])
