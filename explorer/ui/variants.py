"""The Variants tab: what is on the shelf, what is loaded, what it costs, and a sanity check of ten sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np

from ..embeddings import cache_bytes, clear_cache
from ..errors import InputError
from ..styles import label, style
from ..variants import Variant
from . import texts
from .closed import closed_note, shown_if
from .export import build_export
from .html import SCROLLS, chip, esc, mib, note, number, problem
from .parts import panel
from .services import Services
from .sidebar import Sidebar, machine_line, named, variant_choices, variant_colours
from .variant_fields import build_fields


def cards(services: Services) -> str:
    """One card a variant."""
    memory = services.shelf.memory()
    own = memory.variants
    body = "".join(_card(v, own.get(v.name), services) for v in services.shelf.variants)
    shared = "".join(
        f"<p>Backbone <b>{esc(name)}</b>: {mib(size)}, one copy for all its variants.</p>"
        for name, size in memory.backbones.items()
    )
    problems = "".join(note(f"Skipped {problem}", "error") for problem in services.shelf.problems)
    cached = f"<p>Cached document vectors on disk: {mib(cache_bytes())}.</p>"
    return f'{problems}{shared or "<p>No backbone is loaded yet.</p>"}{cached}<div class="cards">{body}</div>'


def _card(variant: Variant, own: int | None, services: Services) -> str:
    rows: list[tuple[str, Any]] = []
    if variant.design:
        rows += [
            ("pooling", variant.design.pooling),
            ("reads", "the last token alone" if variant.design.one_token else ""),
            ("attention", variant.design.attention),
            ("design", variant.design.note),
        ]
    if variant.backbone:
        rows.append(("backbone", variant.backbone))
    rows.append(("source", variant.source))
    if variant.record.get("parameters"):
        rows.append(("trained", f"{variant.record['parameters']:,} parameters"))
    if own is not None:
        encoder = services.shelf.load(variant.name)
        rows += [("dimension", encoder.dimension), ("memory", mib(own) if own else "nothing of its own")]
        rows += [("note", text) for text in encoder.notes]
    scores = ", ".join(f"{task} {number(score)}" for task, score in variant.scores.items())
    rows.append(("scores", scores or "none recorded"))
    rows.append(
        ("state", "loaded" if own is not None else "no weights" if variant.source == "lexical" else "on the shelf")
    )
    listed = "".join(f"<dt>{esc(key)}</dt><dd>{esc(value)}</dd>" for key, value in rows if value != "")
    return (
        f'<section class="card" style="--c:{style(variant.name).colour}">{chip(variant.name)}'
        f"<p class='help'>{esc(variant.how)}</p><dl>{listed}</dl></section>"
    )


def cleared() -> str:
    """Delete the cached document vectors, and say what that was."""
    return f"{mib(clear_cache())} of cached vectors were deleted; what is searched next is encoded again."


def sanity(services: Services, names: Sequence[str]) -> str:
    """For each variant: which of ten sentences it holds closest, and whether that is the one that says the same."""
    sentences = texts.SANITY_SENTENCES
    rows = ""
    for name in names:
        if services.shelf.find(name).source == "lexical":
            continue
        vectors = services.shelf.load(name).encode(list(sentences), kind="document")
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        nearest = similarity.argmax(1)
        right = sum(int(nearest[i] == i ^ 1) for i in range(len(sentences)))
        pair = np.mean([similarity[i, i ^ 1] for i in range(len(sentences))])
        others = np.mean(
            [similarity[i, j] for i in range(len(sentences)) for j in range(len(sentences)) if j not in (i, i ^ 1)]
        )
        wrong = "; ".join(
            f"“{sentences[i]}” → “{sentences[nearest[i]]}”" for i in range(len(sentences)) if nearest[i] != i ^ 1
        )
        rows += (
            f'<tr><th scope="row">{chip(name)}</th><td>{right} of {len(sentences)}</td><td>{number(float(pair), 2)}</td>'
            f'<td>{number(float(others), 2)}</td><td style="white-space:normal;text-align:left">{esc(wrong) or "–"}</td></tr>'
        )
    if not rows:
        return note("Choose at least one variant with vectors in the sidebar.")
    return (
        f'<div class="scroll" {SCROLLS}><table><thead><tr><th scope="col">variant</th><th scope="col">partner first</th>'
        '<th scope="col">cosine to partner</th><th scope="col">to others</th><th scope="col">not so</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def build_variants(services: Services, sidebar: Sidebar) -> gr.HTML:
    """Draw the tab and wire it; returns the shelf's cards, which the page fills when it loads."""
    panel(f"<h2>{texts.VARIANTS}</h2><p class='help'>{texts.VARIANTS_HELP}</p>")
    with gr.Row(elem_classes="beside"):
        chosen = gr.Dropdown(_names(services), label="Variant", elem_id="variant-choice", scale=3)
        load = gr.Button("Load", size="sm", scale=0, min_width=90, elem_id="load")
        unload = gr.Button(
            "Unload", size="sm", scale=0, min_width=90, elem_id="unload", **shown_if(services.policy, "shelf")
        )
        refresh = gr.Button("Look again", size="sm", scale=0, min_width=110, elem_id="refresh")
    hub = shown_if(services.policy, "hub")
    if not services.policy.allows("hub"):
        closed_note(services.policy, "hub")
    with gr.Accordion("Add a backbone or a sentence-transformers model", open=False, elem_id="add-model", **hub):
        panel(f"<p class='help'>{texts.ADD_HELP}</p>")
        with gr.Row(elem_classes="beside"):
            model = gr.Textbox(label="Hub id, folder or GGUF file", scale=3, elem_id="model-id")
            as_backbone = gr.Button("Add as backbone", size="sm", scale=0, min_width=140)
            as_contender = gr.Button("Add as contender", size="sm", scale=0, min_width=140, elem_id="add-contender")
    build_export(services, chosen)
    build_fields(services)
    said = panel(elem_id="variants-said")
    with gr.Row():
        check = gr.Button(
            "Ten-sentence check of the active variants", size="sm", scale=0, min_width=300, elem_id="sanity"
        )
        clear = gr.Button(
            "Clear the embedding cache",
            size="sm",
            scale=0,
            min_width=220,
            elem_id="clear-cache",
            **shown_if(services.policy, "shelf"),
        )
    checked = panel(elem_id="sanity-result")
    shelf = panel(elem_id="shelf")
    outputs = [said, shelf, sidebar.machine, sidebar.variants, sidebar.colours, chosen]

    def after(said: str):
        return (
            said, cards(services), machine_line(services),
            gr.CheckboxGroup(choices=variant_choices(services)), variant_colours(services),
            gr.Dropdown(choices=_names(services)),
        )  # fmt: skip

    def guarded(action):
        def run(value: str | None):
            try:
                return after(note(action((value or "").strip())))
            except InputError as error:
                return after(problem(error))

        return run

    def do_load(name: str) -> str:
        services.shelf.load(name)
        return f"{label(name)} is loaded."

    def do_unload(name: str) -> str:
        services.policy.allow("shelf")
        services.shelf.unload(name)
        return f"{label(name)} is unloaded."

    def do_refresh(_: str) -> str:
        services.shelf.refresh()
        return f"{len(services.shelf.variants)} variants on the shelf."

    def add_backbone(name: str) -> str:
        services.policy.allow("hub")
        bar = gr.Progress()

        def dequantised(done: int, total: int) -> None:
            bar((done, total), desc=texts.DEQUANTISING, unit="tensors")

        return f"{len(services.shelf.add_backbone(_given(name), dequantised))} designs on {name} are on the shelf."

    def add_contender(name: str) -> str:
        services.policy.allow("hub")
        return f"{services.shelf.add_contender(_given(name)).name} is on the shelf."

    for button, source, action in (
        (load, chosen, do_load), (unload, chosen, do_unload), (refresh, chosen, do_refresh),
        (as_backbone, model, add_backbone), (as_contender, model, add_contender),
    ):  # fmt: skip
        button.click(guarded(action), source, outputs, api_visibility="private", show_progress_on=said)

    def run_check(names: list[str]):
        try:
            return sanity(services, names or []), cards(services), machine_line(services)
        except InputError as error:
            return problem(error), gr.skip(), gr.skip()

    def do_clear(_: str) -> str:
        services.policy.allow("shelf")
        return cleared()

    clear.click(lambda: guarded(do_clear)(None), None, outputs, api_visibility="private", show_progress_on=said)
    check.click(
        run_check,
        sidebar.variants,
        [checked, shelf, sidebar.machine],
        api_visibility="private",
        show_progress_on=checked,
    )
    return shelf


def _names(services: Services) -> list[tuple[str, str]]:
    return named([v.name for v in services.shelf.variants if v.source != "lexical"])


def _given(name: str) -> str:
    if not name:
        raise InputError("type a hub id such as Qwen/Qwen3-0.6B, or a folder, first")
    return name
