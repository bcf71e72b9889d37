"""Every lesson from its link in a fresh browser: predict, see, look at it in its tab; a claim with its number."""

from __future__ import annotations

import re

import pytest

from explorer.lessons.course import LESSONS

from .conftest import Watch
from .test_compare import FIRST, SOON

pytestmark = pytest.mark.browser

LOOKS = [("light", 1440), ("dark", 390), ("dark", 1440), ("light", 390)]


@pytest.mark.parametrize(("number", "id"), [(i, one.id) for i, one in enumerate(LESSONS)])
def test_a_lesson_from_its_link(app, browser, number, id):
    one = LESSONS[number]
    scheme, width = LOOKS[number % len(LOOKS)]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    watch = Watch(page)
    page.goto(f"{app.url}/?lesson={id}")
    page.wait_for_function(
        "t => document.querySelector('#lesson-story h3')?.innerText === t", arg=one.title, timeout=FIRST
    )
    assert page.locator("#lesson-reveal").is_disabled()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#lesson-expected input").first.check()
    page.wait_for_function("!document.querySelector('#lesson-reveal').disabled", timeout=SOON)
    page.locator("#lesson-reveal").click()
    page.wait_for_selector("#lesson-result .answer", timeout=FIRST)
    said = page.locator("#lesson-result").inner_text()
    assert one.options[0] in said
    assert re.search(r"\d", said)
    page.locator("#lesson-look").click()
    page.wait_for_function(
        "q => new URLSearchParams(location.search).get('query') === q", arg=one.setup.query, timeout=FIRST
    )
    title = {"compare": "Compare", "layers": "Layers"}[one.setup.tab]
    assert page.locator("button[role=tab][aria-selected=true]", has_text=title).count() == 1
    if one.setup.tab == "layers":
        page.wait_for_function(
            "q => document.querySelector('#text-a textarea').value === q", arg=one.setup.query, timeout=SOON
        )
        page.wait_for_selector("#words-b .weighted", timeout=SOON)
    else:
        page.wait_for_function(
            "n => document.querySelectorAll('#results .column .hit[data-doc]').length >= n",
            arg=2 * len(one.setup.variants), timeout=FIRST,
        )  # fmt: skip
    assert watch.problems == []
    context.close()


def test_a_claim_is_tested_and_the_lesson_is_remembered(app, page):
    page.goto(f"{app.url}/?lesson=mixing")
    page.wait_for_selector("#lesson-story h3", timeout=FIRST)
    page.locator("#claim-test").click()
    page.wait_for_selector("#claim-result .answer", timeout=FIRST)
    said = page.locator("#claim-result").inner_text()
    assert re.search(r"multi-layer-bidirectional minus eos-causal\s+nDCG@10\s+[+-]0\.\d{3}", said)
    assert "with several seeds" in said
    page.locator("#lesson-expected input").nth(1).check()
    page.wait_for_function("!document.querySelector('#lesson-reveal').disabled", timeout=SOON)
    page.locator("#lesson-reveal").click()
    page.wait_for_function("document.querySelector('#lesson-choice').innerText.includes('✓')", timeout=FIRST)
    page.locator("#lesson-next").click()
    page.wait_for_function("document.querySelector('#lesson-story h3').innerText.includes('weight')", timeout=SOON)
    page.goto(app.url)
    page.get_by_role("tab", name="Learn").click()
    page.wait_for_function("document.querySelector('#lesson-choice').innerText.includes('✓')", timeout=FIRST)
    page.get_by_role("button", name="Glossary").click()
    page.locator("#glossary-find input, #glossary-find textarea").first.fill("latents")
    page.wait_for_function("document.querySelectorAll('#glossary-words dt').length < 10", timeout=SOON)
