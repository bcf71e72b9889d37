"""A person's way through Compare: example, query, own documents, judging, downloads, links."""

from __future__ import annotations

import csv
import io
import json
import urllib.parse
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

FIRST = 480_000  # milliseconds: the very first start encodes the corpus, on a busy machine too
SOON = 60_000

PROBE = "{{value}} ${1+1} `x` <script>alert(1)</script>"


def open_page(page, url: str) -> None:
    """Open and wait until every column of the example is there."""
    page.goto(url)
    page.wait_for_selector("#results .hit[data-doc]", timeout=FIRST)
    page.wait_for_function(
        "!document.querySelector('#results [aria-busy=true]') && document.querySelectorAll('#agreement td').length",
        timeout=FIRST,
    )


def ask(page, query: str, expect: str) -> None:
    """Type a query and wait for a title among the results."""
    box = page.locator("#query textarea, #query input").first
    box.fill(query)
    box.press("Enter")
    page.wait_for_function("t => document.querySelector('#results').innerText.includes(t)", arg=expect, timeout=SOON)


def contains(page, where: str, text: str) -> None:
    """Wait until an element shows a text."""
    page.wait_for_function(
        "([where, text]) => (document.querySelector(where) || { innerText: '' }).innerText.includes(text)",
        arg=[where, text],
        timeout=FIRST,
    )


def first_titles(page) -> list[str]:
    """The first hit of every column."""
    return page.eval_on_selector_all(
        "#results .column", "cs => cs.map(c => (c.querySelector('.hit .title') || {}).innerText || '')"
    )


def saved(page, button: str) -> Path:
    """Press a download button; the file."""
    with page.expect_download(timeout=SOON) as caught:
        page.locator(button).click()
    return Path(caught.value.path())


@pytest.fixture
def own_csv(tmp_path: Path) -> Path:
    path = tmp_path / "kitchen & garden.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "body", "category"])
        writer.writerow(["1", "Pancakes", f"Mix flour, milk and eggs, fry in butter. {PROBE}", "cooking"])
        writer.writerow(["2", "Bicycle chain", "Clean the chain and oil it every month.", "repair"])
        writer.writerow(["3", "<img src=x onerror=alert(2)>", "Tomatoes need six hours of sun.", "garden"])
        writer.writerow(["4", "Soup", "Boil onions and carrots in broth.", "cooking"])
    return path


def test_the_whole_journey(app, page, own_csv):
    open_page(page, app.url)
    assert page.locator("#results .column").count() == 4
    example = first_titles(page)
    assert all(example)

    ask(page, "Which planet is the hottest?", "space-venus")
    assert first_titles(page) != example

    page.locator("#own button").first.click()
    page.locator("#upload input[type=file]").set_input_files(own_csv)
    page.wait_for_function("[...document.querySelectorAll('#own input')].some(i => i.value === 'body')", timeout=SOON)
    page.locator("#use-documents").click()
    page.wait_for_function("document.querySelector('#corpus input').value === 'kitchen-garden'", timeout=SOON)
    ask(page, "what to cook for breakfast", "Pancakes")
    contains(page, "#results", PROBE)  # the page may search once more by itself, as the corpus was changed
    contains(page, "#results", "<img src=x onerror=alert(2)>")

    page.locator('#results .j1[data-doc="1"]').first.click()
    page.wait_for_selector('#results .j1[data-doc="1"][aria-pressed=true]', timeout=SOON)
    page.wait_for_function("document.querySelector('#results header').innerText.includes('nDCG')", timeout=SOON)
    page.wait_for_function("document.querySelector('#corpus-note').innerText.includes('1 judged')", timeout=SOON)

    rows = list(csv.DictReader(io.StringIO(saved(page, "#download-view-0").read_text())))
    assert {row["query"] for row in rows} == {"what to cook for breakfast"}
    assert next(row["id"] for row in rows if row["variant"] == "minilm-published") == "1"
    assert rows[0]["corpus"] == "kitchen-garden"
    with zipfile.ZipFile(saved(page, "#download-view-1")) as archive:
        assert "typed 0 1 1\n" in archive.read("qrels.txt").decode()
        assert archive.read("run-minilm-published.txt").decode().startswith("typed Q0 1 1 ")
        assert json.loads(archive.read("settings.json"))["corpus"] == "kitchen-garden"
    assert "breakfast" in saved(page, "#download-view-2").read_text()


def test_all_queries_and_opening_one(app, page):
    open_page(page, app.url)
    page.wait_for_selector("#quality tbody tr", timeout=SOON)
    assert page.locator("#quality tbody tr").count() == 4
    values = page.eval_on_selector_all("#queries-table td.heat", "cells => cells.map(c => Number('0' + c.innerText))")
    assert len(values) >= 100
    assert values == sorted(values, reverse=True)
    row = page.locator("#queries-table button[data-query]").nth(1)
    query = row.get_attribute("data-query")
    row.click()
    page.wait_for_function(
        "q => document.querySelector('#query textarea, #query input').value === q", arg=query, timeout=SOON
    )
    page.wait_for_function("q => new URLSearchParams(location.search).get('query') === q", arg=query, timeout=SOON)
    with zipfile.ZipFile(saved(page, "#download-many-1")) as archive:
        assert len(archive.read("qrels.txt").decode().splitlines()) >= 100


def test_a_link_opens_the_same_view(app, page):
    state = {"corpus": "python-stdlib", "query": "pick a random element", "variants": "bm25,minilm-published", "k": "3"}
    open_page(page, f"{app.url}/?{urllib.parse.urlencode(state)}")
    page.wait_for_function("document.querySelector('#results').innerText.includes('random.choice')", timeout=SOON)
    assert page.locator("#results .column").count() == 2
    assert page.locator("#results .column").first.locator(".hit").count() == 3


def test_options(app, page):
    open_page(page, app.url)
    page.locator("#options button").first.click()
    page.locator("#only input").check()
    page.wait_for_function("document.querySelector('#results').innerText.includes('hidden')", timeout=SOON)
    page.locator("#blind input").check()
    page.wait_for_function(
        "[...document.querySelectorAll('#results header')].map(h => h.innerText[0]).join('') === 'ABCD'", timeout=SOON
    )
    assert "minilm" not in page.locator("#results").inner_text()
    page.locator("#blind input").uncheck()
    page.wait_for_function("document.querySelector('#results').innerText.includes('minilm')", timeout=SOON)


def test_bad_input_is_said_where_the_user_looks(app, page, tmp_path):
    open_page(page, app.url)
    before = page.locator("#results").inner_text()
    page.locator("#query textarea, #query input").first.fill("   ")
    page.locator("#search").click()
    page.wait_for_function("document.querySelector('#status').innerText.includes('query first')", timeout=SOON)
    assert page.locator("#results").inner_text() == before

    binary = tmp_path / "broken.csv"
    binary.write_bytes(bytes(range(256)) * 4096)
    page.locator("#own button").first.click()
    page.locator("#upload input[type=file]").set_input_files(binary)
    page.locator("#use-documents").click()
    page.wait_for_selector("#own-said .px-error", timeout=SOON)
    assert "broken.csv" in page.locator("#own-said").inner_text()
    assert page.locator("#corpus input").input_value() == "everyday"


def test_variants_tab(app, page):
    open_page(page, app.url)
    page.get_by_role("tab", name="Variants").click()
    page.wait_for_selector("#shelf .card", timeout=SOON)
    assert "one copy for all its variants" in page.locator("#shelf").inner_text()
    page.locator("#sanity").click()
    page.wait_for_selector("#sanity-result tbody tr", timeout=SOON)
    assert "10 of 10" in page.locator("#sanity-result").inner_text()
    page.locator("#add-model button").first.click()
    page.locator("#model-id input, #model-id textarea").first.fill("no such model!")
    page.locator("#add-contender").click()
    page.wait_for_selector("#variants-said .px-error", timeout=SOON)

    page.locator("#export button").first.click()
    page.locator("#export-repository input, #export-repository textarea").first.fill("no owner")
    page.locator("#variant-choice input").click()
    page.get_by_role("option", name="● eos-causal", exact=True).click()
    page.locator("#export-push").click()
    contains(page, "#export-said", "it is owner/name")
    page.locator("#export-weights label", has_text="adapter").locator("input").check()
    with zipfile.ZipFile(saved(page, "#export-zip")) as archive:
        assert {"minilm-eos-causal/modules.json", "minilm-eos-causal/README.md"} <= set(archive.namelist())
    contains(page, "#export-said", "SentenceTransformer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_is_wider_than_the_window(app, browser, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    open_page(page, app.url)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_another_process_calls_the_api(app):
    from gradio_client import Client

    client = Client(app.url, verbose=False)
    names = [v["name"] for v in client.predict(api_name="/variants")["variants"]]
    assert "minilm-published" in names
    found = client.predict("pick a random element", "minilm-published,bm25", "python-stdlib", 3, api_name="/search")
    assert [len(ranking) for ranking in found["results"].values()] == [3, 3]
    read = client.predict("delete a folder", "", "query", api_name="/layers")
    assert read["variant"] == "smollm2/multi-layer-bidirectional"
    assert len(read["mean"]) == 30
    assert sum(read["mean"]) == pytest.approx(1, abs=1e-5)
    made = client.predict(["a wolf", "a wolf", "the sea"], "eos-causal", "query", api_name="/encode")
    assert made["variant"] == "minilm/eos-causal"
    first, second, other = made["vectors"]
    assert first == pytest.approx(second, abs=1e-6)
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-5)
    assert sum(x * y for x, y in zip(first, other, strict=True)) < 0.9
    with pytest.raises(Exception, match="matches words and makes no vectors"):
        client.predict(["x"], "bm25", "query", api_name="/encode")
    with pytest.raises(Exception, match="at least one text"):
        client.predict([], "", "query", api_name="/encode")
    with pytest.raises(Exception, match="no variant 'nope'"):
        client.predict("x", "nope", "python-stdlib", 3, api_name="/search")


def test_the_log_holds_no_traceback(app):
    assert "Traceback" not in app.log.read_text()
