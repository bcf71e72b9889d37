"""What the Map tab shows and decides: updates of the page, answers to map.js, and what bad messages come to."""

from __future__ import annotations

import asyncio
import base64
import csv
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import spaces
from gradio.context import LocalContext

from explorer.corpora import Corpus, Document
from explorer.policy import Policy
from explorer.projection import command, shading
from explorer.projection.lab import MapSettings
from explorer.ui import html_map, map_doors, map_view
from explorer.ui import map_show as tab
from explorer.ui import services as page
from explorer.ui.map_show import AskedMap, Visit
from explorer.ui.map_turns import Turns
from explorer.ui.map_view import Drawings

N = 60
PROBE = "{{value}} ${1+1} `x` <script>alert(1)</script>"
STATUS, MAPS, TOLD, NUMBERS, MOVED, COLOUR, A, B = range(8)


@pytest.fixture
def services(home) -> page.Services:
    given = {"a": spaces.vectors(N), "b": spaces.vectors(N, seed=1), "c": spaces.vectors(N, seed=2)}
    made = page.Services(spaces.Shelf(given))  # type: ignore[arg-type]
    made.library.add(spaces.corpus(N))
    return made


@pytest.fixture
def drawings(services) -> Drawings:
    return Drawings(services.maps)


ASKED = AskedMap(["a", "b", "bm25"], "points", "pca", "label", None, None, 8, 0, 6, "a query", 5)


def shown(services, drawings, asked: AskedMap = ASKED) -> list[list]:
    """All updates, first to last."""
    return list(tab.show_map(Visit(services, drawings, Turns(), "visitor"), asked))


def test_a_visitor_of_a_demo_sees_maps_of_documents_of_ones_own(home):
    given = {"a": spaces.vectors(N), "b": spaces.vectors(N, seed=1)}
    services = page.Services(spaces.Shelf(given), Policy.public_demo())  # type: ignore[arg-type]
    visit = Visit(services, Drawings(services.maps), Turns(), "visitor")

    async def everything(of: str) -> list[list]:
        LocalContext.request.set(SimpleNamespace(session_hash=of, username=None))  # type: ignore[arg-type]
        if of == "owner":
            services.library.add(spaces.corpus(N))
        return [update async for update in tab.show_in_turn(visit, ASKED)]

    assert json.loads(finished(everything("owner"))[-1][MAPS])["n"] == N
    assert "No corpus" in finished(everything("somebody else"))[-1][STATUS]
    services.visitors.close()


def finished(work: Coroutine):
    """What it returns, from a loop in a thread of its own: in this one Playwright's runs after a browser test."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def function(drawings: Drawings, name: str):
    return next(f for f in drawings.functions if f.__name__ == name)


def drawn(services, drawings, asked: AskedMap = ASKED) -> dict:
    """The message to map.js in the end."""
    return json.loads(shown(services, drawings, asked)[-1][MAPS])


def test_maps_come_first_and_numbers_follow(services, drawings):
    updates = [u for u in shown(services, drawings) if u[MAPS]]
    assert "Being measured" in updates[0][NUMBERS]
    assert [c.split()[-1] for c, _ in updates[0][A].choices] == ["a", "b"]
    assert (updates[0][A].value, updates[0][B].value) == ("a", "b")
    assert ("number: year", "field: year") in updates[0][COLOUR].choices
    last = updates[-1]
    assert last[STATUS] == ""
    assert "BM25 matches words and has no vectors" in last[TOLD]
    assert "a query" in last[TOLD]
    for _, name, meaning in tab.texts_map.MEASURES:
        assert name in last[NUMBERS]
        assert meaning[:20] in last[NUMBERS]
    assert "mean change" in last[MOVED]
    message = json.loads(last[MAPS])
    assert [v["name"] for v in message["names"]] == ["a", "b"]
    assert "trustworthiness ." in message["names"][0]["told"]
    assert "Title" not in last[MAPS]  # no texts


def test_the_payload_is_positions_and_codes_only(services, drawings):
    message = drawn(services, drawings)
    points = function(drawings, "points")(message["key"])["maps"]
    steps = np.frombuffer(base64.b64decode(points[0]), "<u2").reshape(-1, 2)
    xy = [message["x"][0], message["y"][0]] + steps / map_view.STEPS * (message["x"][1] - message["x"][0])
    space = drawings.space(message["key"])
    np.testing.assert_allclose(xy, space.positions["a"], atol=1e-4)
    codes = function(drawings, "codes")(message["shade"])
    assert codes["names"] == ["group 0", "group 1", "group 2", "group 3"]
    assert np.frombuffer(base64.b64decode(codes["packed"][""]), np.uint8).tolist() == [i % 4 for i in range(N)]
    assert len(codes["colours"]) == len(codes["symbols"]) == 4
    assert message["star"]["a"]["rows"][0] == 0


@pytest.mark.parametrize("colour", ["cluster", "change", "trust", "field: year", "gone"])
def test_every_colour_can_be_chosen(services, drawings, colour):
    message = drawn(services, drawings, replace(ASKED, colour=colour))
    codes = function(drawings, "codes")(message["shade"])
    titles = {"cluster": "cluster", "change": "neighbourhood change", "trust": "trustworthiness", "field: year": "year"}
    assert codes["title"] == titles.get(colour, "label")
    if colour == "trust":
        assert set(codes["packed"]) == {"a", "b"}


def test_umap_follows_pca_and_is_at_once_there_again(services, drawings):
    asked = replace(ASKED, method="umap")
    first = [json.loads(u[MAPS])["drawn"] for u in shown(services, drawings, asked) if u[MAPS]]
    assert (first[0], first[-1]) == ("pca", "umap")
    again = [json.loads(u[MAPS])["drawn"] for u in shown(services, drawings, asked) if u[MAPS]]
    assert set(again) == {"umap"}


def test_choices_in_the_sidebar_draw_nothing_where_the_tab_is_not_seen(services, drawings):
    assert shown(services, drawings, replace(ASKED, shown=False)) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"variants": ["bm25"]}, "Choose at least one variant that makes vectors"),
        ({"variants": []}, "Choose at least one variant"),
        ({"corpus": "gone"}, "No corpus &#x27;gone&#x27;"),
        ({"seed": None}, "The seed must be a whole number"),
        ({"neighbours": 1}, "Neighbours must be between 2 and 100"),
    ],
)
def test_bad_input_is_a_sentence_where_one_looks(services, drawings, changed, sentence):
    assert sentence in shown(services, drawings, replace(ASKED, **changed))[-1][STATUS]


def test_one_variant_has_a_map_and_nothing_to_compare(services, drawings):
    last = shown(services, drawings, replace(ASKED, variants=["b"], colour="change"))[-1]
    assert "Choose a second variant" in last[MOVED]
    assert json.loads(last[MAPS])["names"][0]["name"] == "b"
    assert tab.pair_of(["a", "b", "c"], "b", "b") == ("b", "a")
    assert tab.pair_of(["a", "b", "c"], "gone", "c") == ("a", "c")


def test_only_the_latest_request_is_answered_and_all_end_with_what_it_came_to(services, drawings):
    visit = Visit(services, drawings, Turns(), "visitor")

    async def ask(**changed) -> list[tab.Update]:
        return [update async for update in tab.show_in_turn(visit, replace(ASKED, **changed))]

    async def overtaken() -> tuple[list[tab.Update], list[tab.Update]]:
        first = asyncio.create_task(ask())
        while visit.turns.latest("visitor") is None:
            await asyncio.sleep(0.01)
        return await ask(colour="cluster"), await first

    latest, first = finished(overtaken())
    assert function(drawings, "codes")(json.loads(latest[-1][MAPS])["shade"])["title"] == "cluster"
    assert first[-1] == latest[-1]
    assert finished(ask(shown=False)) == [latest[-1]]  # what is seen stays
    failed = finished(ask(seed=None))[-1]
    assert "whole number" in failed[STATUS]
    assert failed[MAPS : MOVED + 1] == latest[-1][MAPS : MOVED + 1]


def test_a_request_for_other_maps_stops_the_work_and_one_for_the_same_goes_on():
    turns, others = Turns(), replace(ASKED, corpus="others").geometry
    one = turns.begin("visitor", ASKED.geometry, [])
    same = turns.begin("visitor", replace(ASKED, colour="trust").geometry, [])
    assert same.cancel is one.cancel
    assert not one.cancel.is_set()
    other = turns.begin("visitor", others, [])
    assert one.cancel.is_set()
    turns.begin("somebody else", ASKED.geometry, [])
    assert not other.cancel.is_set()
    turns.stop("visitor")
    assert other.cancel.is_set()
    assert not turns.begin("visitor", others, []).cancel.is_set()


def test_an_empty_query_has_no_star(services, drawings):
    assert drawn(services, drawings, replace(ASKED, query=" "))["star"] is None


# ----------------------------------------------------------------------------------------------------------- selecting


def test_selecting_shows_the_same_documents_and_neighbours_of_the_space(services, drawings):
    key = drawn(services, drawings)["key"]
    table = tab.show_selection(drawings, "a", "b", {"key": key, "rows": [3, 5], "total": 2, "why": "inside the lasso"})
    assert "2 documents inside the lasso" in table
    assert 'data-choose="3"' in table
    assert 'data-choose="5"' in table
    assert "change A → B" in table

    one = tab.show_selection(drawings, "a", "b", {"key": key, "rows": [7]})
    points = spaces.vectors(N)
    order = [int(r) for r in np.argsort(-(points @ points[7]), kind="stable") if r != 7][:10]
    columns = one.split('<section class="column"')[1:]
    assert len(columns) == 2
    assert [int(part.split('"')[0]) for part in columns[0].split('data-choose="')[1:]] == order
    near = function(drawings, "near")({"key": key, "row": 7})
    assert near["a"] == order
    assert "Nothing is selected" in tab.show_selection(drawings, "a", "b", {"key": key, "rows": []})


def test_search_finds_all_words_in_any_case(services, drawings):
    key = drawn(services, drawings)["key"]
    find = function(drawings, "find")
    assert find({"key": key, "text": "TITLE 17"})["rows"] == [17]
    assert find({"key": key, "text": "group"})["rows"] == list(range(N))
    assert find({"key": key, "text": "unheard"})["rows"] == []
    assert "error" in find({"key": key, "text": " "})
    about = function(drawings, "about")({"key": key, "rows": [2]})
    assert about["documents"] == [{"row": 2, "title": "Title 2", "label": "group 2", "text": "text 2"}]


@pytest.mark.parametrize("rows", [[N], [-1], ["1"], [True], [1.5], "1", None, {}, [[1]]])
def test_messages_that_name_no_document_are_refused(services, drawings, rows):
    key = drawn(services, drawings)["key"]
    assert "error" in function(drawings, "about")({"key": key, "rows": rows})
    if rows:
        assert 'role="alert"' in tab.show_selection(drawings, "a", "b", {"key": key, "rows": rows})


@pytest.mark.parametrize("asked", [None, 7, "gone", {}, {"key": ["x"]}, {"key": "gone", "rows": [1]}])
def test_answers_to_unknown_keys_are_sentences(drawings, asked):
    for answer in drawings.functions:
        assert map_view.GONE in answer(asked)["error"]


def test_texts_of_documents_are_shown_as_texts(home):
    documents = tuple(Document(f"{PROBE}{i}", PROBE, PROBE, PROBE) for i in range(3))
    given = {PROBE: spaces.vectors(3), "b": spaces.vectors(3, seed=1)}
    lab = page.MapLab(page.Comparer(spaces.Shelf(given)))  # type: ignore[arg-type]
    space = lab.draw(Corpus("probe", documents), list(given), MapSettings("pca", 2))
    pages = [
        html_map.numbers(lab.measure(space), space),
        html_map.selection(space.corpus, [0, 1], 2, PROBE, None),
        html_map.chosen(space.corpus, 0, map_view.neighbours_of(lab, space, 0)),
        html_map.moved(space.corpus, *given, np.zeros(3), [0], 2),
    ]
    for made in pages:
        assert "<script" not in made
        assert not set("{}$`") & set(made)


def test_the_frame_is_no_template():
    assert not set("{}$`") & set(html_map.FRAME)


# ---------------------------------------------------------------------------------------------------- doors, downloads


def test_doors_open_compare_and_layers_with_the_document(services):
    found = map_doors.asked_door(services, "points", ["b"], {"document": "d4", "door": "layers"})
    assert found == ("layers", "Title 4 text 4", "b")
    for data in ({}, {"document": "gone", "door": "layers"}, {"document": "d4", "door": "x"}, {"door": "compare"}):
        with pytest.raises(gr.Error):
            map_doors.asked_door(services, "points", [], data)


def test_downloads_carry_ids_and_settings(services):
    space = services.maps.draw(services.library.open("points"), ["a", "b"], MapSettings("pca", 8))
    rows = list(csv.DictReader(command.positions_csv(space).splitlines()))
    assert rows[3]["id"] == "d3"
    assert rows[3]["method"] == "pca"
    assert float(rows[3]["x b"]) == pytest.approx(float(space.positions["b"][3, 0]), abs=1e-5)
    page_ = command.figure_html(services.maps, space, shading.by_label(space.corpus), "a query")
    assert "Corpus points" in page_


def test_our_scripts_are_plain_files():
    folder = Path(map_view.__file__).parent
    for name in ("map_points.js", "map.js", "map_use.js", "map_table.js"):
        assert "http" not in (folder / name).read_text(encoding="utf-8")  # nothing from elsewhere
