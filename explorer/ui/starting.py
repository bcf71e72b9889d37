"""What the page starts with: the address first, then what this browser remembers, then defaults."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..lessons.course import LESSONS
from ..lessons.lesson import CORPUS
from . import texts
from .compare import Compare, example_updates
from .learn import Learn, opened_by_link
from .parts import HIDDEN
from .services import DEFAULT_CORPUS, Services
from .sidebar import Sidebar

CLOSE_SIDEBAR_ON_PHONES = """() => {
  const button = document.querySelector('#sidebar .toggle-button, .sidebar .toggle-button');
  if (window.innerWidth < 768 && button) button.click();
}"""


def begin(
    app: gr.Blocks, services: Services, sidebar: Sidebar, compare: Compare, learn: Learn, tabs: gr.Tabs,
    redraw: dict[str, Any],
) -> None:  # fmt: skip
    """Wire the page's loading: choices restored, the worked example searched, a lesson's link opened; and remember
    what is chosen later. `redraw`: the event that draws maps where they are seen."""
    remembered = gr.BrowserState({}, storage_key="pooling-explorer", secret="settings-only")
    restored = [sidebar.variants, sidebar.corpus, compare.k, compare.query]

    def restore(remembered: dict[str, Any] | None, request: gr.Request) -> list[Any]:
        return starting_values(services, remembered or {}, dict(request.query_params))

    def examples(corpus: str) -> list[Any]:
        return example_updates(services, corpus)[:-1]

    def restore_lesson(request: gr.Request) -> list[Any]:
        return opened_by_link(request.query_params.get("lesson"))

    app.load(fn=None, js=CLOSE_SIDEBAR_ON_PHONES)
    app.load(restore_lesson, None, [tabs, learn.chosen, *learn.shown], **HIDDEN)
    loading = app.load(restore, remembered, restored, **HIDDEN)
    loading.then(sidebar.describe, sidebar.corpus, sidebar.corpus_note, **HIDDEN)
    loading.then(examples, sidebar.corpus, compare.examples, **HIDDEN)
    loading.then(**redraw)
    many = compare.many
    loading.then(**compare.search).then(many.refresh, many.inputs, many.outputs, concurrency_limit=4, **HIDDEN)
    gr.on(
        [sidebar.variants.input, sidebar.corpus.input, compare.k.release],
        lambda variants, corpus, k: {"variants": variants, "corpus": corpus, "k": k},
        [sidebar.variants, sidebar.corpus, compare.k], remembered, **HIDDEN,
    )  # fmt: skip


def starting_values(services: Services, remembered: dict[str, Any], address: dict[str, str]) -> list[Any]:
    """Variants, corpus, k and query to start with: the address wins, then what was remembered, then
    defaults. What is not valid (any more) is left out."""
    taken = next((one.setup for one in LESSONS if one.id == address.get("lesson")), None)
    if taken:  # a link to a lesson looks the same for everybody
        address = {"variants": ",".join(taken.variants), "corpus": CORPUS, "query": taken.query, **address}
    wanted = address.get("variants", "").split(",") if address.get("variants") else remembered.get("variants") or []
    known = {v.name for v in services.shelf.variants}
    variants = [name for name in wanted if name in known][: services.most_active] or services.default_variants()
    corpus = address.get("corpus") or remembered.get("corpus")
    corpus = corpus if corpus in services.library.names else DEFAULT_CORPUS
    number = str(address.get("k") or remembered.get("k") or 10)
    k = min(services.policy.limits.k, max(1, int(number))) if number.isdigit() else 10
    query = address.get("query") or (texts.EXAMPLES[corpus][0] if corpus in texts.EXAMPLES else None)
    return [
        gr.CheckboxGroup(value=variants),
        gr.Dropdown(choices=services.library.names, value=corpus),
        k,
        query[: services.policy.limits.text or 2000] if query else gr.skip(),
    ]
