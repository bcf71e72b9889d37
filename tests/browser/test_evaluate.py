"""An evaluation from the page: start, close the page, come back, read the table, open the worst query in Compare."""

from __future__ import annotations

import pytest

from .conftest import wait_until_finished
from .test_compare import SOON, open_page

pytestmark = pytest.mark.browser

LONG = 480_000
TASK = "PythonStdlibRetrieval"


def test_an_evaluation_outlives_its_page(app, browser, page):
    open_page(page, f"{app.url}/?variants=minilm-published,bm25")
    page.get_by_role("tab", name="Evaluate").click()
    page.wait_for_function(
        "document.querySelector('#evaluate-builtin').innerText.includes('Retrieval ·')", timeout=LONG
    )
    for box in page.locator("#evaluate-builtin input[type=checkbox]").all():
        box.uncheck()
    page.wait_for_function(
        "document.querySelector('#evaluate-start').innerText === 'Choose a task first'", timeout=SOON
    )
    assert page.locator("#evaluate-start").is_disabled()
    page.locator("#evaluate-builtin label", has_text=TASK).locator("input").check()
    page.locator("#evaluate-options button").first.click()
    page.locator("#evaluate-sample input").fill("25")
    page.keyboard.press("Tab")
    page.wait_for_function(
        "(b => b.innerText === 'Start' && !b.disabled)(document.querySelector('#evaluate-start'))", timeout=SOON
    )
    page.locator("#evaluate-start").click()
    page.wait_for_function(
        "document.querySelector('#evaluate-said').innerText.includes('close this page')", timeout=SOON
    )
    page.close()

    again = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    again.goto(f"{app.url}/?variants=bm25&corpus=mteb-tasks")
    again.get_by_role("tab", name="Evaluate").click()
    wait_until_finished(again, "#evaluation-state", LONG)
    again.wait_for_selector("#evaluation-worst button[data-query]", timeout=SOON)
    table = again.locator("#evaluation-table").inner_text()
    assert "nDCG@10, test, n = 25" in table
    assert "not comparable with the leaderboard" in table
    assert "best" in table
    assert again.locator("#evaluation-table tbody tr").count() == 2
    tests = again.locator("#evaluation-tests").inner_text()
    assert "too few tasks with different scores" in tests.lower()
    assert f"{TASK} " in tests

    row = again.locator("#evaluation-worst button[data-query]").first
    query = row.get_attribute("data-query")
    row.click()
    again.wait_for_function(
        "q => document.querySelector('#query textarea, #query input').value === q", arg=query, timeout=SOON
    )
    again.wait_for_function(
        "q => (s => s.get('query') === q && s.get('corpus') === 'python-stdlib')(new URLSearchParams(location.search))",
        arg=query, timeout=SOON,
    )  # fmt: skip
    assert again.locator("#results .column").count() == 2
    assert again.get_by_role("tab", name="Compare").get_attribute("aria-selected") == "true"
    again.context.close()
