"""axe-core on every tab: nothing that shuts a person out, in light and dark, with everything unfolded."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from .test_compare import FIRST, SOON, open_page

pytestmark = pytest.mark.browser

GRAVE = {"serious", "critical"}
READY = {
    "Compare": "#queries-table tbody tr",
    "Layers": "#heads-a .main-svg",
    "Map": ".map-legend button",
    "Fine-tune": "#run-state p",
    "Evaluate": "#evaluate-builtin input",
    "Study": "#study-report .claim",
    "Variants": "#shelf .card",
    "Learn": "#lesson-story h3",
}
"""Tab -> what stands there when it has drawn itself."""

UNFOLD = """() => {
  document.querySelectorAll('button.label-wrap:not(.open)').forEach((b) => b.offsetParent && b.click());
  document.querySelectorAll('details').forEach((d) => { d.open = true; });
}"""
EVERYTHING = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
"""axe's own choice of rules, and that what is touched is at least 24 pixels high and wide."""
COLOURS = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
"""All that another theme changes."""


def found(page, options: dict) -> list[str]:
    """Grave findings: rule, element, what is wrong."""
    return [
        f"{rule['id']}: {node['target']} {node['html'][:120]} {node['failureSummary']}"
        for rule in Axe().run(page, options=options).response["violations"]
        for node in rule["nodes"]
        if node["impact"] in GRAVE
    ]


@pytest.fixture(scope="module")
def unfolded(app, browser):
    """One page for all tabs."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    page = context.new_page()
    open_page(page, app.url)
    yield page
    context.close()


@pytest.mark.parametrize("tab", READY)
def test_a_tab_shuts_nobody_out(unfolded, tab):
    page = unfolded
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_selector(READY[tab], timeout=FIRST)
    page.evaluate(UNFOLD)
    page.wait_for_timeout(500)  # what was unfolded is drawn
    assert found(page, EVERYTHING) == []
    try:
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("document.body.classList.contains('dark')", timeout=SOON)
        assert found(page, COLOURS) == []
    finally:
        page.emulate_media(color_scheme="light")
        page.wait_for_function("!document.body.classList.contains('dark')", timeout=SOON)
