"""A person's way through the Map: PCA, UMAP, lasso, the same documents everywhere, and through the doors."""

from __future__ import annotations

import urllib.parse

import pytest

from .conftest import ROOT, Watch
from .test_compare import FIRST, SOON, saved
from .test_layers import contains

pytestmark = pytest.mark.browser

PAIR = ["minilm-published", "minilm/multi-layer-bidirectional"]
PIXELS = """name => {
  const canvas = document.querySelector(name), pen = canvas.getContext('2d');
  return pen.getImageData(0, 0, canvas.width, canvas.height).data.some(value => value);
}"""
PLACE = "([panel, row]) => document.querySelector('.map-stage').placeOf(panel, row)"
SHOWN = "n => document.querySelector('.map-stage').dataset.shown === n"


def open_map(page, app, **more: str) -> None:
    """The Map of `everyday` by two variants, complete."""
    wanted = {"corpus": "everyday", "query": "Which planet is the hottest?", "variants": ",".join(PAIR), **more}
    page.goto(f"{app.url}/?{urllib.parse.urlencode(wanted)}")
    page.wait_for_selector("#results .hit[data-doc]", timeout=FIRST)
    tab = page.get_by_role("tab", name="Map")
    if not tab.is_visible():
        page.locator("button.overflow-menu, .overflow-menu button").first.click()
    tab.click()
    page.wait_for_selector(".map-stage[data-drawn]", timeout=FIRST)
    page.wait_for_selector(".map-stage[data-drawn=umap]", timeout=FIRST)
    page.wait_for_selector("#map-numbers table", timeout=SOON)


def test_a_way_through_the_map(app, page):
    open_map(page, app, variants=",".join([*PAIR, "bm25"]))
    assert page.locator(".map-frame").count() == 2
    contains(page, "#map-told", "BM25 matches words and has no vectors")
    contains(page, "#map-told", "Which planet is the hottest?")
    contains(page, "#map-numbers", "Effective rank")
    page.wait_for_function(PIXELS, arg=".map-over", timeout=SOON)  # the star

    # searching by words: lit on the maps, and in the table
    page.locator(".map-search").fill("bank")
    page.locator(".map-search").press("Enter")
    contains(page, "#map-selected", "documents hold “bank”")
    rows = page.locator("#map-selected tbody tr").count()
    assert rows > 1
    assert page.locator(".map-stage").get_attribute("data-lit") == str(rows)

    # the lasso around everything in the first panel
    page.locator("[data-mode=lasso]").click()
    page.locator(".map-stage").scroll_into_view_if_needed()
    box = page.locator(".map-frame").first.bounding_box()
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    for i, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if not i:
            page.mouse.down()
    page.mouse.up()
    contains(page, "#map-selected", "197 documents inside the lasso")

    # a click on a point of the second panel chooses its document, with neighbours by each variant
    page.locator("[data-mode=pan]").click()
    page.locator(".map-stage").scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    place = page.evaluate(PLACE, [1, 0])
    page.mouse.move(*place)
    page.locator(".map-tip:not([hidden])").wait_for(timeout=SOON)
    hovered = page.locator(".map-tip b").inner_text()
    page.mouse.click(*place)
    page.locator("#map-selected [data-chosen]").wait_for(timeout=SOON)
    assert page.locator("#map-selected b").first.inner_text() == hovered
    for variant in PAIR:
        near = page.locator(f"section[aria-label='neighbours by {variant}'] [data-choose]")
        assert near.count() == 10

    # the legend shows one label alone, and all again
    page.locator(".map-legend [data-code='0']").click()
    alone = page.locator(".map-legend [data-code='0'] small").inner_text()
    page.wait_for_function(SHOWN, arg=alone, timeout=SOON)
    page.locator(".map-all").click()
    page.wait_for_function(SHOWN, arg="197", timeout=SOON)

    # what moved most chooses without the pointer on the map
    moved = page.locator("#map-moved [data-choose]").first
    title = moved.inner_text()
    moved.focus()
    page.keyboard.press("Enter")
    contains(page, "#map-selected", title)

    lines = saved(page, "#download-map-0").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 198
    assert lines[1].startswith("everyday,umap,15,0,")

    # the doors
    text = page.locator("#map-selected [data-chosen]").inner_text()
    page.locator("#map-selected [data-door=layers]").first.click()
    page.wait_for_function(
        "t => (document.querySelector('#text-a textarea') || { value: '' }).value.includes(t)",
        arg=text[:40],
        timeout=SOON,
    )
    contains(page, "#words-a", text.split()[1])
    page.get_by_role("tab", name="Map").click()
    page.locator("#map-selected [data-door=compare]").first.click()
    page.wait_for_function(
        "t => (document.querySelector('#query textarea') || { value: '' }).value.includes(t)",
        arg=text[:40],
        timeout=SOON,
    )
    contains(page, "#results", title)


def test_the_map_in_dark_though_the_server_does_not_answer_at_first(app, browser):
    page = browser.new_context(viewport={"width": 1440, "height": 844}).new_page()
    watch = Watch(page)
    refused: list[str] = []

    def refuse(route) -> None:
        if len(refused) < 3:
            refused.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route("**/component_server/**", refuse)
    open_map(page, app, __theme="dark")
    assert page.locator(".map-said").inner_text() == ""
    in_shape(page, below_one_another=False)
    page.context.close()
    assert len(refused) == 3
    assert all("component_server" in problem for problem in watch.problems)


def test_the_map_on_a_phone(app, browser):
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    watch = Watch(page)
    open_map(page, app)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    in_shape(page, below_one_another=True)
    corner = "document.querySelector('.map-frame canvas').getContext('2d').getImageData(1, 1, 1, 1).data[0]"
    assert page.evaluate(corner) > 200
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function(f"{corner} < 60", timeout=SOON)
    page.context.close()
    assert watch.problems == []


def in_shape(page, below_one_another: bool) -> None:
    """Both maps have equal aspect, one size and one scale."""
    frames = page.locator(".map-frame")
    first, second = frames.nth(0).bounding_box(), frames.nth(1).bounding_box()
    assert abs(first["width"] - first["height"]) < 2
    assert first["width"] == pytest.approx(second["width"], abs=1)
    assert (second["y"] > first["y"]) == below_one_another

    # One scale for all: a document lies at the same place of its map as the camera moves both.
    def inside(panel: int) -> tuple[float, float]:
        x, y = page.evaluate(PLACE, [panel, 5])
        box = frames.nth(panel).bounding_box()
        return x - box["x"], y - box["y"]

    before = [inside(0), inside(1)]
    page.locator(".map-stage").press("ArrowRight")
    after = [inside(0), inside(1)]
    moved = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True)]
    assert moved[0] == pytest.approx(moved[1])
    assert moved[0][0] == pytest.approx(-0.15 * first["width"], abs=1)


POINTS = (ROOT / "explorer" / "ui" / "map_points.js").read_text(encoding="utf-8")


def test_points_become_pixels(browser):
    page = browser.new_page()
    found = page.evaluate(
        POINTS + """;
        const on = sheet(9, 4), half = stamp('circle', 2, [200, 100, 0], 0.5);
        on.pixels.fill(0xffffffff);
        imprint(on, half, 4, 4);
        imprint(on, half, 400, 4);
        const at = (x, y) => [...on.image.data.slice(4 * ((y + 4) * on.wide + x + 4)).slice(0, 4)];
        const xy = [0, 0, 1, 0, 1, 1, 5, 5], square = [[-0.5, -0.5], [1.5, -0.5], [1.5, 0.5], [-0.5, 0.5]];
        ({
          middle: at(4, 4), corner: at(0, 0),
          order: [...drawingOrder(new Uint8Array([1, 0, 2, 1]), [2, 0, 1])],
          near: [(r) => true, (r) => r !== 1].map((shown) => nearestRow(xy, 0.9, 0.2, 0.5, shown)),
          inside: [rowsInside(xy, square, () => true), rowsInside(xy, square, (r) => r)],
        })"""
    )  # fmt: skip
    assert found["middle"] == pytest.approx([(255 + 200) / 2, (255 + 100) / 2, 255 / 2, 255], abs=1)
    assert found["corner"] == [255] * 4
    assert found["order"] == [2, 1, 0, 3]
    assert found["near"] == [1, None]
    assert found["inside"] == [[0, 1], [1]]
    page.close()
