"""What the maps show: PCA, then UMAP, then the numbers, and what was selected. map.py wires it to the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from ..corpora import Corpus
from ..errors import Cancelled, InputError
from ..layers.lab import StageProgress
from ..projection import neighbours, shading
from ..projection.command import COLOURS, shade
from ..projection.lab import MapSettings, Space, Star
from ..projection.quality import Quality
from ..projection.shading import Shading
from ..store import Cancel
from . import html_map, texts_map
from .html import esc, note, problem
from .map_turns import Turns, Update
from .map_view import Drawings, checked_rows, message, neighbours_of, shade_key
from .services import LOOK_EVERY, Services
from .sidebar import machine_line, named

COLOUR_NAMES = {
    "label": "labels", "cluster": "clusters", "change": "neighbourhood change A → B", "trust": "trustworthiness here",
}  # fmt: skip
FIELD = "field: "
MOVED_SHOWN = 30
FOLLOWERS = ThreadPoolExecutor(32, "maps")
"""Threads that look how far the work is."""


@dataclass(frozen=True)
class AskedMap:
    """What the page asks for, in the order of the inputs."""

    variants: list[str]
    corpus: str
    method: Any
    colour: str
    a: str | None
    b: str | None
    neighbours: int
    seed: float | None
    clusters: int
    query: str
    k: int
    shown: bool = True

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What decides where points lie."""
        return self.corpus, tuple(self.variants or []), self.method, self.neighbours, self.seed

    @property
    def settings(self) -> MapSettings:
        """Checked. Raises `InputError`."""
        if self.seed is None or self.seed != int(self.seed):
            raise InputError("the seed must be a whole number")
        return MapSettings(self.method, int(self.neighbours), int(self.seed))


@dataclass(frozen=True)
class _Drawn:
    """What is there so far; the page shows the rest when it comes."""

    space: Space
    shading: Shading
    stars: dict[str, Star] | None = None
    qualities: dict[str, Quality] | None = None
    changes: np.ndarray | None = None


@dataclass(frozen=True)
class Visit:
    """Who asks, and what answers."""

    services: Services
    drawings: Drawings
    turns: Turns
    session: str


def show_map(visit: Visit, asked: AskedMap) -> Iterator[Update]:
    """Updates of the page: PCA first, then UMAP, then the numbers.

    Ends without a word where the maps are not seen, or where the visitor has asked for something else meanwhile.
    """
    if not asked.shown:
        return
    turn = visit.turns.begin(visit.session, asked.geometry, standing(visit, asked))
    try:
        for update in _updates(visit, asked, turn.cancel, turn.seen):
            if visit.turns.latest(visit.session) is not turn:
                return
            if update is not None:
                turn.seen = update
                yield update
    except (InputError, Cancelled) as error:
        unmeasured = note(texts_map.NOT_MEASURED) if turn.seen[3] == html_map.measuring() else turn.seen[3]
        turn.seen = [problem(error), *turn.seen[1:3], unmeasured, *turn.seen[4:]]
        if visit.turns.latest(visit.session) is turn:
            yield turn.seen
    finally:
        turn.is_over = True


def standing(visit: Visit, asked: AskedMap) -> Update:
    """What the visitor sees until there is more: that of the request before, with what is chosen now."""
    before = visit.turns.latest(visit.session)
    panels = before.seen[:5] if before else [""] * 5
    return [*panels, asked.colour, asked.a, asked.b, machine_line(visit.services)]


async def show_in_turn(visit: Visit, asked: AskedMap) -> AsyncIterator[Update]:
    """As `show_map`, and at the end, in whatever order requests end, what the latest one has come to."""
    updates = show_map(visit, asked)
    # With the context, which knows who asks: a thread would not know whose corpora to open.
    step = partial(copy_context().run, next, updates, None)
    following = partial(asyncio.get_running_loop().run_in_executor, FOLLOWERS, step)
    while (update := await following()) is not None:
        yield update
    while (latest := visit.turns.latest(visit.session)) is not None and not latest.is_over:
        await asyncio.sleep(LOOK_EVERY)
    yield latest.seen if latest else standing(visit, asked)


def _updates(visit: Visit, asked: AskedMap, cancel: Cancel, seen: Update) -> Iterator[Update | None]:
    """As `show_map`; None at looks that find nothing new. `seen` is what stands there until there is more."""
    services = visit.services
    if not services.library.is_open(asked.corpus):
        yield [note("Reading the documents …", "busy"), *seen[1:]]
    corpus = services.library.open(asked.corpus)
    settings = asked.settings
    names, _ = services.maps.names(asked.variants or [])
    pair = pair_of(names, asked.a, asked.b)
    fields = list(shading.numeric_fields(corpus))
    colour = asked.colour if asked.colour in (*COLOURS, *(FIELD + f for f in fields)) else "label"
    if colour == "change" and pair is None:
        colour = "label"
    choices = _choices(colour, fields, names, pair)
    said = ""
    for sentence, drawn in _stages(services, corpus, names, settings, colour, pair, asked, cancel):
        if drawn is None:
            yield [note(sentence, "busy"), *seen[1:]] if sentence != said else None
            said = sentence
            continue
        done, said = drawn.qualities is not None, ""
        seen = [
            note("" if done else sentence, "busy"),
            _drawn_message(visit.drawings, drawn),
            _told(drawn, asked.query if drawn.stars else ""),
            html_map.numbers(drawn.qualities, drawn.space) if drawn.qualities else html_map.measuring(),
            _moved(drawn, pair) if done else note("Being measured …", "busy"),
            *choices,
            machine_line(services),
        ]
        yield seen


def pair_of(names: list[str], a: str | None, b: str | None) -> tuple[str, str] | None:
    """Variants A and B: those chosen where they are on the maps, else the first two; None where there is one map."""
    if len(names) < 2:
        return None
    first = a if a in names else names[0]
    second = b if b in names and b != first else next(name for name in names if name != first)
    return first, second


def _choices(colour: str, fields: list[str], names: list[str], pair: tuple[str, str] | None) -> list[Any]:
    """Updates of what can be coloured by, and of variants A and B."""
    kinds = [(shown, name) for name, shown in COLOUR_NAMES.items() if name != "change" or pair]
    kinds += [(f"number: {field}", FIELD + field) for field in fields]
    variants = named(names)
    a, b = pair or (names[0], None)
    return [
        gr.Dropdown(choices=kinds, value=colour),
        gr.Dropdown(choices=variants, value=a),
        gr.Dropdown(choices=variants, value=b, interactive=pair is not None),
    ]


def _stages(
    services: Services, corpus: Corpus, names: list[str], settings: MapSettings, colour: str,
    pair: tuple[str, str] | None, asked: AskedMap, cancel: Cancel,
) -> Iterator[tuple[str, _Drawn | None]]:  # fmt: skip
    """Sentences on the progress with None, and what is drawn, ever more of it."""
    lab = services.maps

    def shaded(space: Space) -> Shading:
        by = colour.removeprefix(FIELD) if colour.startswith(FIELD) else colour
        return shade(lab, space, by, pair, int(asked.clusters))

    def drawing(method: Any) -> Any:
        def work(progress: StageProgress, cancel: Cancel) -> _Drawn:
            space = lab.draw(corpus, asked.variants, replace(settings, method=method), progress, cancel)
            # Before there are neighbours, only labels and numbers cost nothing.
            quick = colour not in ("change", "trust") or (method == settings.method and colour == "change")
            stars = lab.stars(space, asked.query, int(asked.k)) if (asked.query or "").strip() else None
            return _Drawn(space, shaded(space) if quick else shading.by_label(corpus), stars)

        return work

    drawn = None
    methods = ["umap"] if lab.is_ready(corpus, names, settings) else ["pca", "umap"]
    for method in methods if settings.method == "umap" else ["pca"]:
        for message_, found in services.look(drawing(method), cancel):
            drawn = found or drawn
            busy = "UMAP follows …" if method != settings.method else "Measuring …"
            yield message_ if found is None else busy, found
    assert drawn is not None
    last = drawn

    def measuring(progress: StageProgress, cancel: Cancel) -> _Drawn:
        qualities = lab.measure(last.space, progress, cancel)
        changes = lab.change(corpus, *pair, settings.neighbours, progress, cancel) if pair else None
        return replace(last, qualities=qualities, changes=changes, shading=shaded(last.space))

    for message_, found in services.look(measuring, cancel):
        yield message_, found


def _drawn_message(drawings: Drawings, drawn: _Drawn) -> str:
    drawings.keep(drawn.space.key, drawn.space)
    key = drawings.keep(shade_key(drawn.shading), drawn.shading)
    return message(drawn.space, key, drawn.qualities, drawn.stars)


def _told(drawn: _Drawn, query: str) -> str:
    """What a reader must know of the picture."""
    star = f"“{query[:120]}”: {texts_map.STAR}" if query else ""
    if star and drawn.space.drawn == "umap":
        star += f" {texts_map.STAR_UMAP}"
    return "".join(note(text) for text in drawn.space.notes) + (f"<p class='help'>★ {esc(star)}</p>" if star else "")


def _moved(drawn: _Drawn, pair: tuple[str, str] | None) -> str:
    if pair is None or drawn.changes is None:
        return note(texts_map.ONE_VARIANT)
    rows = neighbours.most_changed(drawn.changes, MOVED_SHOWN).tolist()
    return html_map.moved(drawn.space.corpus, *pair, drawn.changes, rows, drawn.space.settings.neighbours)


# ----------------------------------------------------------------------------------------------------------- selecting


def show_selection(drawings: Drawings, a: str | None, b: str | None, data: Any) -> str:
    """The table of what was selected; of a single document, its text and its neighbours by each variant."""
    try:
        space = drawings.space(data.get("key"))
        if not data.get("rows"):
            return note(texts_map.NO_SELECTION)
        rows = checked_rows(space, data.get("rows"))
        if len(rows) == 1:
            return html_map.chosen(space.corpus, rows[0], neighbours_of(drawings.lab, space, rows[0]))
        pair = pair_of(space.names, a, b)
        changes = None
        if pair is not None:
            changes = drawings.lab.change(space.corpus, *pair, space.settings.neighbours)
        total, why = data.get("total"), data.get("why")
        total = total if isinstance(total, int) and total >= len(rows) else len(rows)
        return html_map.selection(space.corpus, rows, total, why[:240] if isinstance(why, str) else "", changes)
    except (InputError, Cancelled) as error:
        return problem(error)
