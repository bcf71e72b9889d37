"""A person's way into Layers: from a hit in Compare, through heads and groups, to a layer switched off."""

from __future__ import annotations

import json
import urllib.parse

import pytest

from .test_compare import FIRST, SOON, contains, saved

pytestmark = pytest.mark.browser

MULTI = "minilm/multi-layer-bidirectional"
QUERY = "Which planet is the hottest?"


def test_why_here_leads_to_the_layers(app, page):
    wanted = {"corpus": "everyday", "query": QUERY, "variants": f"minilm-published,{MULTI},bm25"}
    page.goto(f"{app.url}/?{urllib.parse.urlencode(wanted)}")
    column = page.locator(f"section[aria-label='{MULTI}']")
    column.locator(".hit[data-doc]").nth(1).wait_for(timeout=FIRST)
    assert page.locator("section[aria-label='bm25'] .why").count() == 0  # it has no layers
    document = column.locator(".hit[data-doc]").nth(1).get_attribute("data-doc")
    column.locator(".why").nth(1).click()

    page.locator("#why-figure .js-plotly-plot").wait_for(timeout=FIRST)
    assert page.locator("#text-a textarea").input_value() == QUERY
    assert page.locator("#why-document textarea, #why-document input").first.input_value() == document
    contains(page, "#why-status", f"“{document}” stands at rank 2")
    contains(page, "#words-a", "hottest")
    for plot in ("#weights", "#heads-a", "#heads-b", "#latents-a", "#latents-b", "#contributions-a"):
        page.locator(f"{plot} .js-plotly-plot").wait_for(timeout=SOON)
    for plot in ("#norms-a", "#norms-b", "#held"):
        page.locator(f"{plot} .js-plotly-plot").wait_for(timeout=SOON)
    contains(page, "#sinks-told", "No token is a sink")
    assert page.get_by_text("Attention is not explanation").first.is_visible()

    page.locator("#head input").click()
    page.get_by_role("option", name="head 3").click()
    contains(page, "#weights", "head 3")

    page.locator("#switches input").nth(5).uncheck()
    contains(page, "#switched", "without layer 6")
    before, after = (page.locator(f"#switched section:nth-of-type({i}) .title").all_inner_texts() for i in (1, 2))
    assert before != after
    assert len(after) == 10

    numbers = json.loads(saved(page, "#download-layers-1").read_text(encoding="utf-8"))
    assert len(numbers["readings"]) == 2
    assert sum(numbers["readings"][0]["mean"]) == pytest.approx(1, abs=1e-5)

    page.locator("#ablate").click()
    contains(page, "#ablation-told", "rank correlation")
