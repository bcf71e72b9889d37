"""Texts that try to be markup, wherever a text from outside can stand on the page: they are shown as texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import spaces
from evil import EVIL, PROBES, WORST, check_text_stays_text, evil_corpus

from explorer.comparison import Comparison, ManyQueries
from explorer.designs import design
from explorer.errors import InputError
from explorer.evaluation.results import Cell, Column, Line, Table
from explorer.figures.base import plain
from explorer.policy import Policy
from explorer.retrieval import Hit
from explorer.run import Run, State
from explorer.significance import Test
from explorer.ui import (
    closed,
    compare,
    doors,
    finetune,
    html,
    html_evaluate,
    html_map,
    many,
    map_doors,
    sidebar,
    variants,
)
from explorer.ui import map_show as tab
from explorer.ui import services as page
from explorer.ui.map_show import AskedMap, Visit
from explorer.ui.map_turns import Turns
from explorer.ui.map_view import Drawings, described
from explorer.ui.parts import toast
from explorer.variants import Shelf, ShelfMemory, Variant

CORPUS = evil_corpus()
NAMES = (f"a/{WORST}", f"b/{WORST}")


@pytest.fixture
def services(home) -> page.Services:
    """Two variants with evil names over an evil corpus."""
    given = {name: spaces.vectors(3, seed=seed) for seed, name in enumerate(NAMES)}
    made = page.Services(spaces.Shelf(given))  # type: ignore[arg-type]
    made.library.add(CORPUS)
    return made


def shown(updates) -> str:
    """All HTML that a handler shows in the end."""
    return " ".join(part for part in updates if isinstance(part, str))


def test_compare(services):
    asked = compare.Asked(WORST, list(NAMES), "evil", 3, NAMES[0])
    *_, columns, last = compare.show_search(services, asked, "me")
    check_text_stays_text(columns[1])
    check_text_stays_text(last[2])
    for trace in last[3].data:
        assert "<" not in f"{trace.name} {trace.text} {trace.x} {trace.hovertemplate}".replace("<extra>", "").replace(
            "</extra>", ""
        )
    check_text_stays_text(
        shown(list(many.show_many(services, many.AskedMany(list(NAMES), "evil", 3, NAMES[0], "exact"), "me"))[-1])
    )
    for bad in (replace(asked, variants=[WORST]), replace(asked, corpus=WORST)):
        check_text_stays_text(list(compare.show_search(services, bad, "me"))[-1][0])
    blind = list(compare.show_search(services, replace(asked, blind=True), "me"))[-2][1]
    check_text_stays_text(blind)


def test_errors_in_the_corner_of_the_page(services):
    for work in (
        lambda: doors.asked_why(services, "q", "evil", {"variant": WORST, "document": WORST}),
        lambda: map_doors.asked_door(services, WORST, [], {"door": "layers", "document": WORST}),
    ):
        with pytest.raises(gr.Error) as shown_there:
            work()
        check_text_stays_text(shown_there.value.message, "")
    check_text_stays_text(toast(InputError(WORST)).message)


def test_sidebar(services):
    check_text_stays_text(sidebar.corpus_line(CORPUS))
    assert "alert" not in sidebar.variant_colours(services)
    for file, lines in ((None, ""), (f"/nowhere/{EVIL}.csv", "")):
        try:
            sidebar.read_own(Policy(), file, lines, "", (None,) * 4, None)
        except (InputError, OSError) as error:
            said = html.problem(error)
    check_text_stays_text(said)


def test_map(services):
    drawings = Drawings(services.maps)
    asked = AskedMap(list(NAMES), "evil", "pca", "label", None, None, 2, 0, 2, WORST, 2)
    last = list(tab.show_map(Visit(services, drawings, Turns(), "me"), asked))[-1]
    for markup in (last[2], last[3], last[4]):
        check_text_stays_text(markup)
    space = drawings.space(json.loads(last[1])["key"])
    neighbours = {name: [(1, 0.5)] for name in NAMES}
    check_text_stays_text(html_map.chosen(CORPUS, 0, neighbours))
    check_text_stays_text(html_map.selection(CORPUS, [0, 1], 2, WORST, np.zeros(3)))
    assert described(space, 0)["title"].startswith(EVIL[:20])  # map.js sets it as text, never as markup
    assert not [js for js in Path(tab.__file__).parent.glob("*.js") if "innerHTML" in js.read_text()]


def test_variants_tab(services, monkeypatch):
    record = {
        "design": "eos-causal",
        "backbone": WORST,
        "parameters": 7,
        "scores": {WORST: 0.5},
        "training": {"steps": WORST},
    }
    evil = Variant(NAMES[0], "checkpoint", design("eos-causal"), WORST, None, record)
    services.shelf.variants = [evil]
    services.shelf.problems = [WORST]
    services.shelf.memory = lambda: ShelfMemory({WORST: 5}, {})
    check_text_stays_text(variants.cards(services), "alert(5)")


def test_a_record_of_wrong_types_is_skipped_and_said(home, tmp_path):
    for i, change in enumerate(
        ({"scores": {"STS": WORST}}, {"parameters": "many"}, {"design": WORST}, {"scores": [1]})
    ):
        folder = tmp_path / "shelf" / "x" / f"v{i}"
        folder.mkdir(parents=True)
        record = {"design": "eos-causal", "backbone": "sentence-transformers/all-MiniLM-L6-v2", **change}
        (folder / "variant.json").write_text(json.dumps(record))
    services = page.Services(Shelf("cpu", checkpoints=[tmp_path / "shelf"]))
    assert len(services.shelf.problems) == 4
    check_text_stays_text(variants.cards(services), "x/v0")


RUN = Run(
    "20260101-000000-00000000", Path("/nowhere"), "train", ("--design", WORST, "--output", WORST), WORST, "cpu", ("x",),
    "/", 0.0, 0, State(name="failed", error=WORST),
)  # fmt: skip


def test_runs(services, monkeypatch):
    steps = [{"step": 1, "steps": 2, "loss": 0.5, "dev": {WORST: 0.5}}]
    check_text_stays_text(finetune.state_card(RUN, steps))
    other = replace(RUN, arguments=("--design", f"{WORST}2"))
    check_text_stays_text(finetune.differences_table([RUN, other]))
    check_text_stays_text(html_evaluate.run_card(RUN, [{"task": WORST, "variant": WORST, "problem": WORST}]))
    active = replace(RUN, status=State(name="running"))
    monkeypatch.setattr(services.runs, "list", lambda: [active])
    check_text_stays_text(sidebar.runs_line(services))


def test_evaluate():
    cells = (Cell(0.5, note=WORST),)
    column = Column(WORST, WORST, WORST, WORST, WORST, 9, False, WORST)
    lines = (Line(NAMES[0], "", cells, {}), Line(WORST, WORST, cells, {}))
    check_text_stays_text(
        html_evaluate.table(Table((column,), lines, (WORST,), (WORST,), {"mteb": WORST, "device": WORST}))
    )
    test = Test(NAMES[0], NAMES[1], WORST, WORST, 9, 0.5, 0.4, 0.1, 0.05, 0.2, 0.01, 0.01)
    check_text_stays_text(html_evaluate._tests([test, replace(test, refused=WORST)]))


@pytest.mark.parametrize("probe", PROBES)
def test_small_pieces(probe, monkeypatch):
    view = Comparison(CORPUS, probe, 1, {probe: [Hit(CORPUS.ids[0], 1, 0.5)]})
    queries = ManyQueries(CORPUS, {WORST: probe}, 1, {probe: {WORST: view.results[probe]}})
    for markup in (html.note(probe), html.chip(probe), html.queries_table(queries), html.quality_table(queries, probe)):
        check_text_stays_text(markup, "alert(" if "alert" in probe else "7*7")
    assert "<" not in plain(probe)
    monkeypatch.setenv("SPACE_ID", probe)
    assert "alert(1)" not in closed.duplicate()
    check_text_stays_text(closed.duplicate(), "Duplicate this Space")


def test_a_space_offers_to_be_duplicated(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "some-one/pooling.explorer")
    assert 'href="https://huggingface.co/spaces/some-one/pooling.explorer?duplicate=true"' in closed.duplicate()
    monkeypatch.delenv("SPACE_ID")
    assert closed.duplicate() == ""
