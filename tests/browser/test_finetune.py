"""A short fine-tune from the page: start, close the page, come back, compare before and after."""

from __future__ import annotations

import json

import pytest

from .conftest import wait_until_finished
from .test_compare import SOON, open_page

pytestmark = pytest.mark.browser

LONG = 480_000


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    things = ("apple", "river", "engine", "violin", "winter", "bridge", "bread", "planet", "garden", "letter")
    rows = [
        {"query": f"{verb} the {thing}", "positive": f"How one can {verb} a {thing} at home."}
        for thing in things
        for verb in ("find", "draw", "paint", "describe")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def open_tab(page, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Fine-tune").click()
    page.wait_for_selector("#run-state", timeout=SOON)


def test_a_fine_tune_outlives_its_page(app, browser, page, pairs):
    open_page(page, app.url)
    page.locator("#own button").first.click()
    page.locator("#pasted textarea").fill("bread from flour and water\na bridge over the river\nletters in winter")
    page.locator("#use-documents").click()
    page.wait_for_function("document.querySelector('#corpus input').value === 'pasted'", timeout=SOON)

    page.get_by_role("tab", name="Fine-tune").click()
    page.get_by_role("button", name="The exact command").click()
    page.wait_for_function(
        "document.querySelector('#train-command')?.innerText.includes('builtin:docstrings')", timeout=SOON
    )
    page.locator("#train-builtin input").uncheck()
    page.wait_for_function(
        "document.querySelector('#train-start').innerText.includes('Choose training data')", timeout=SOON
    )
    assert page.locator("#train-start").is_disabled()
    page.locator("#train-files input[type=file]").set_input_files(pairs)
    page.locator("#train-name input, #train-name textarea").first.fill("short")
    page.get_by_role("radio", name="Custom").check()
    page.get_by_role("button", name="Custom settings").click()
    for label, value in (("Steps", "3"), ("Pairs a step", "8"), ("Tokens a text", "16")):
        page.get_by_label(label, exact=True).fill(value)
    page.wait_for_function(
        "(b => b.innerText === 'Start' && !b.disabled)(document.querySelector('#train-start'))", timeout=SOON
    )
    page.locator("#train-start").click()
    page.wait_for_function("document.querySelector('#train-said').innerText.includes('close this page')", timeout=SOON)
    page.close()

    again = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    open_tab(again, f"{app.url}/?corpus=pasted&query=winter")
    wait_until_finished(again, "#run-state", LONG)
    assert "step 3 of 3" in again.locator("#run-state").inner_text()
    again.locator("#before-after").click()
    again.wait_for_selector("#before-after-result .column", timeout=LONG)
    result = again.locator("#before-after-result").inner_text()
    assert "“winter” before and after" in result
    assert "mine/minilm/short" in result
    assert again.locator("#variants input:checked").count() == 2
    again.context.close()
