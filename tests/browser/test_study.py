"""The Study tab: the shipped study opens at once, and a small one of one's own is started, left and found again."""

from __future__ import annotations

import time

import pytest

from .conftest import wait_until_finished
from .test_compare import FIRST, SOON

pytestmark = pytest.mark.browser

LONG = 480_000


def open_study(page, url: str) -> float:
    """Open the page, then the tab; the seconds from the click to the report."""
    page.goto(f"{url}/?variants=bm25")
    page.wait_for_selector("#results .hit[data-doc]", timeout=FIRST)
    began = time.monotonic()
    page.get_by_role("tab", name="Study").click()
    page.wait_for_selector("#study-report h3", timeout=SOON)
    return time.monotonic() - began


def test_the_shipped_study_opens_without_computing(app, page):
    print(f"the shipped study was there {open_study(page, app.url):.2f} s after the click")
    page.wait_for_function("document.querySelector('#study-state').innerText.includes('nothing is computed')")
    report = page.locator("#study-report")
    for text in ("Answer", "The paper’s claims", "no one-size-fits-all solution", "eos-causal", "± "):
        assert text in report.inner_text()
    assert report.locator("figure svg").count() >= 4
    assert report.locator(".claim").count() == 6
    matrix = report.locator("details", has_text="Which differences")
    assert not matrix.locator("table").first.is_visible()
    matrix.locator("summary").click()
    assert matrix.locator("table").first.is_visible()
    with page.expect_download(timeout=SOON) as saved:
        page.locator("#download-study-1").click()
    assert saved.value.suggested_filename == "report.md"


def test_a_study_outlives_its_page(app, browser, page):
    open_study(page, app.url)
    page.wait_for_function("document.querySelector('#study-start').innerText === 'Start'", timeout=SOON)
    for name in ("last-layer-causal", "multi-layer-causal", "last-layer-bidirectional", "multi-layer-bidirectional"):
        page.locator("#study-designs label", has_text=name).locator("input").uncheck()
    page.locator("#study-seeds textarea, #study-seeds input").first.fill("")
    page.wait_for_function("document.querySelector('#study-start').innerText === 'Give a seed first'", timeout=SOON)
    page.locator("#study-seeds textarea, #study-seeds input").first.fill("5")
    for box in page.locator("#study-tasks label").all():
        if box.inner_text().strip() != "MinimalTriplets":
            box.locator("input").uncheck()
    page.get_by_label("Custom", exact=True).last.check()
    page.locator("#study-custom button").first.click()
    page.get_by_label("Steps", exact=True).last.fill("2")
    page.get_by_label("Pairs a step", exact=True).last.fill("8")
    page.get_by_label("Tokens a text", exact=True).last.fill("32")
    page.locator("#study-question textarea, #study-question input").first.fill(
        "Does two steps of training <b>help</b>?"
    )
    page.get_by_role("button", name="The exact command").last.click()
    page.wait_for_function(
        "(document.querySelector('#study-command') || {}).textContent?.includes('--max-steps 2')", timeout=SOON
    )
    page.locator("#study-start").click()
    page.wait_for_function("document.querySelector('#study-said').innerText.includes('close this page')", timeout=SOON)
    page.close()

    again = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    again.goto(f"{app.url}/?variants=bm25")
    again.get_by_role("tab", name="Study").click()
    wait_until_finished(again, "#study-state", LONG)
    again.wait_for_function("document.querySelector('#study-report').innerText.includes('<b>help</b>')", timeout=SOON)
    report = again.locator("#study-report").inner_text()
    assert "one model" in report  # one seed: no verdict
    again.locator("#study-shelf").click()
    again.wait_for_function("document.querySelector('#study-shelved').innerText.includes('on the shelf')", timeout=SOON)
    assert again.locator("#variants label", has_text="eos-causal/seed-5").count() == 1
    again.locator("#study-delete").click()
    again.wait_for_function("document.querySelector('#study-state').innerText.includes('Shipped')", timeout=SOON)
    again.context.close()
