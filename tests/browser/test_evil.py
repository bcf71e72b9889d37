"""Every tab with documents, a query, a file and variants that try to be markup: all of it is shown as text.

The page's own watch (conftest.py) fails on a dialog, an error in the console (an image that was not found, say), or a
request to another host.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from evil import EVIL, PROBES, WORST

from explorer.variants import CHECKPOINTS

pytestmark = pytest.mark.browser

SOON = 60_000
FIRST = 90_000
WORKS = "<img src=x onerror=alert(6)>/{{7*7}} ${alert(4)} `x`"
"""A variant of that name, with the weights of a shipped one."""


@pytest.fixture
def evil_shelf(app) -> Iterator[None]:
    """Two variants of the user's own: one whose name is a probe, and one whose backbone is."""
    root = app.home / "data" / "variants"
    shutil.copytree(CHECKPOINTS / "minilm" / "multi-layer-bidirectional", root / WORKS)
    broken = root / "x" / "evil-backbone"
    broken.mkdir(parents=True)
    record = {"design": "eos-causal", "backbone": EVIL, "training": {"steps": EVIL}, "scores": {EVIL: 0.5}}
    (broken / "variant.json").write_text(json.dumps(record))
    yield
    shutil.rmtree(root / WORKS.split("/")[0])
    shutil.rmtree(root / "x")


@pytest.fixture
def evil_file(tmp_path: Path) -> Path:
    path = tmp_path / "<img src=x onerror=alert(7)>.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "title", "text", "label", EVIL])
        for i, probe in enumerate(PROBES):
            table.writerow([f"{i} {probe}", f"{i} {probe}", f"document {i}: {WORST}", probe, WORST])
    return path


def tick(page, label: str) -> None:
    page.locator("#variants label").filter(has_text=label).locator("input").check()


def test_every_tab(app, page, evil_shelf, evil_file):
    page.goto(f"{app.url}/?corpus=everyday&variants=bm25&query={EVIL}")
    page.wait_for_selector("#results .column:not([aria-busy])", timeout=FIRST)

    page.get_by_role("tab", name="Variants").click()
    page.locator("#refresh").click()
    page.wait_for_function("document.querySelector('#shelf').innerText.includes('onerror=alert(6)')", timeout=SOON)
    assert EVIL in page.locator("#shelf").inner_text()  # the other one's backbone

    page.get_by_role("tab", name="Compare").click()
    tick(page, "alert(6)")
    tick(page, "evil-backbone")
    page.locator("#own button").first.click()
    page.locator("#upload input[type=file]").set_input_files(evil_file)
    page.wait_for_function("[...document.querySelectorAll('#own input')].some(i => i.value === 'text')", timeout=SOON)
    page.locator("#use-documents").click()
    page.wait_for_function("document.querySelector('#corpus input').value.includes('onerror')", timeout=SOON)
    page.wait_for_function("t => document.querySelector('#results').innerText.includes(t)", arg=PROBES[1], timeout=SOON)
    page.wait_for_function("!document.querySelector('#results [aria-busy=true]')", timeout=FIRST)
    page.wait_for_selector("#results .px-error", timeout=SOON)  # the variant without a backbone, in its column
    results = page.locator("#results").inner_text()
    for probe in PROBES:
        assert probe in results
    assert WORKS in results

    page.locator("#results button.why").first.click()
    page.wait_for_selector("#why-status p", timeout=FIRST)
    page.wait_for_function("document.querySelector('#why-status').innerText.includes('stands at rank')", timeout=FIRST)
    assert "alert(" in page.locator("#words-b").inner_text()

    page.locator("#variants label").filter(has_text="evil-backbone").locator("input").uncheck()  # it cannot be drawn
    page.get_by_role("tab", name="Map").click()
    page.locator("#map-method input[value=pca]").check()
    # Said again for every picture: the one of the earlier ticks, then the one by principal components.
    page.wait_for_function("document.querySelector('#map-numbers').innerText.includes('alert(6)')", timeout=FIRST)
    legend = page.locator("#map-view .map-legend").inner_text()
    assert PROBES[1] in legend

    for tab, there in (
        ("Fine-tune", "#train-start"), ("Evaluate", "#evaluate-builtin"), ("Study", "#study-report h2"),
        ("Learn", "#lesson-story"),
    ):  # fmt: skip
        page.get_by_role("tab", name=tab, exact=True).click()
        page.locator(there).first.wait_for(timeout=SOON)
        page.wait_for_timeout(500)
    assert not page.evaluate("[...document.images].some(i => i.getAttribute('src') === 'x')")
    page.locator("#own-said").scroll_into_view_if_needed()
    page.locator("#remove-corpus").click()
    page.wait_for_function("document.querySelector('#corpus input').value === 'everyday'", timeout=SOON)
