"""The sidebar: what every tab reads. Active variants, corpus, device and memory, and the user's own documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..corpora import Corpus
from ..errors import InputError
from ..hub import WITHOUT_SMOLLM2, has_smollm2
from ..policy import Policy
from ..store import Progress
from ..styles import label, style
from . import texts
from .closed import shown_if
from .html import esc, note, problem
from .parts import HIDDEN, panel
from .services import DEFAULT_CORPUS, Services

RUNS_EVERY = 5.0
"""Seconds between two looks at the background runs."""


@dataclass
class Sidebar:
    """Components that tabs take as inputs."""

    variants: gr.CheckboxGroup
    corpus: gr.Dropdown
    corpus_note: gr.HTML
    machine: gr.HTML
    colours: gr.HTML
    describe: Callable[[str], str]
    """The line under the corpus's name."""
    corpus_set: list[Any]
    """Events after which code has set another corpus; a choice by hand is `corpus.input`."""


def variant_choices(services: Services) -> list[tuple[str, str]]:
    """(symbol and short name, full name) of everything on the shelf."""
    return named([v.name for v in services.shelf.variants])


def named(names: Sequence[str]) -> list[tuple[str, str]]:
    """(symbol and short name, full name): a variant is called the same in every list."""
    return [(f"{style(name).symbol} {label(name)}", name) for name in names]


def variant_colours(services: Services) -> str:
    """A style sheet that gives every checkbox the colour of its variant."""
    rules = "".join(
        f"#variants label:nth-of-type({i}){{border-left:4px solid {style(v.name).colour}}}"
        for i, v in enumerate(services.shelf.variants, start=1)
    )
    return f"<style>{rules}</style>"


def corpus_line(corpus: Corpus) -> str:
    """One line on a corpus: documents, labels, queries, judgments, and what was skipped while reading it."""
    parts = [f"{len(corpus):,} documents"]
    if corpus.labels:
        parts.append(f"{len(corpus.labels)} labels")
    if corpus.queries:
        parts.append(f"{len(corpus.queries)} queries, {sum(1 for q in corpus.qrels.values() if q)} judged")
    return f'<p class="help">{esc(" · ".join(parts))}</p>' + "".join(note(text) for text in corpus.notes)


def machine_line(services: Services) -> str:
    """Device, dtype and memory of what is loaded."""
    memory = services.shelf.memory()
    if not memory.total:
        return '<p class="help">No model loaded yet.</p>'
    place = services.shelf.place()
    parts = [*place, f"{memory.total / 2**20:,.0f} MiB in {len(memory.variants)} variants"]
    return f'<p class="help">{esc(" · ".join(parts))}</p>'


def runs_line(services: Services) -> str:
    """What runs in the background, and how far it is; nothing when nothing does."""
    runs = services.runs.list()
    parts = [f"{run.title} {(run.share or 0) * 100:.0f} %" for run in runs if run.is_active]
    waiting = sum(run.state == "queued" for run in runs)
    parts += [f"{waiting} in the queue"] if waiting else []
    return f'<p class="help">Runs: {esc(" · ".join(parts))}</p>' if parts else ""


def build_sidebar(services: Services) -> Sidebar:
    """Draw the sidebar and wire what belongs to it alone."""
    with gr.Sidebar(width=330, elem_id="sidebar"):
        panel(f"<h1>{texts.TITLE}</h1><p class='help'>{texts.LEAD}</p>")
        colours = gr.HTML(variant_colours(services), visible=True)
        variants = gr.CheckboxGroup(
            variant_choices(services),
            value=services.default_variants(),
            label=f"Active variants (2 to {services.most_active})",
            elem_id="variants",
        )
        if not has_smollm2():
            panel(note(WITHOUT_SMOLLM2))
        corpus = gr.Dropdown(services.library.names, value=DEFAULT_CORPUS, label="Corpus", elem_id="corpus")
        corpus_note = panel('<p class="help">Reading the documents …</p>', elem_id="corpus-note")
        corpus_set = _own_documents(services, corpus)
        machine = panel(machine_line(services), elem_id="machine")
        runs = panel(runs_line(services), elem_id="runs-line")
    gr.Timer(RUNS_EVERY).tick(lambda: runs_line(services), None, runs, queue=False, **HIDDEN)

    def describe(name: str) -> str:
        try:
            return corpus_line(services.library.open(name))
        except InputError as error:
            return problem(error)

    for event in (corpus.input, *(done.then for done in corpus_set)):
        event(describe, corpus, corpus_note, **HIDDEN)
    return Sidebar(variants, corpus, corpus_note, machine, colours, describe, corpus_set)


def _own_documents(services: Services, corpus: gr.Dropdown) -> list[Any]:
    """Upload, paste or name a hub dataset; columns can be chosen where there are any."""
    with gr.Accordion(texts.OWN, open=False, elem_id="own"):
        panel(f'<p class="help">{texts.OWN_HELP} {esc(services.policy.about_documents or texts.OWN_HERE)}</p>')
        upload = gr.File(label="File", file_count="single", elem_id="upload", height=120)
        with gr.Group(visible=False) as chooser:
            text_column = gr.Dropdown([], label="Text column")
            with gr.Row():
                id_column = gr.Dropdown([], label="Id")
                title_column = gr.Dropdown([], label="Title")
                label_column = gr.Dropdown([], label="Label")
        pasted = gr.Textbox(label="or paste, one document a line", lines=3, max_lines=8, elem_id="pasted")
        hub = gr.Textbox(
            label="or a hub dataset (owner/name, split)", placeholder="mteb/scifact, train", elem_id="hub",
            **shown_if(services.policy, "hub"),
        )  # fmt: skip
        use = gr.Button("Use these documents", variant="primary", size="sm", elem_id="use-documents")
        said = panel(elem_id="own-said")
        remove = gr.Button("Forget the corpus chosen above", size="sm", elem_id="remove-corpus")
    columns = [text_column, id_column, title_column, label_column]

    def look(file: str | None) -> list[Any]:
        return preview_columns(services.policy, file)

    upload.change(look, upload, [chooser, *columns, said], api_visibility="private", show_progress="hidden")

    def take(file: str | None, lines: str | None, dataset: str | None, *chosen: str | None, progress=gr.Progress()):  # noqa: B008
        try:
            found = read_own(
                services.policy, file, lines or "", dataset or "", chosen,
                lambda done, total: progress((done, total), unit="documents"),
            )  # fmt: skip
            name = services.library.add(found)
            return (
                gr.Dropdown(choices=services.library.names, value=name),
                note(f"“{name}” is the active corpus now."),
            )
        except InputError as error:
            return gr.skip(), problem(error)

    taken = use.click(
        take, [upload, pasted, hub, *columns], [corpus, said],
        api_visibility="private", concurrency_limit=4, show_progress_on=said,
    )  # fmt: skip

    def forget(name: str):
        try:
            services.library.remove(name)
            return gr.Dropdown(choices=services.library.names, value=DEFAULT_CORPUS), note(f"“{name}” was deleted.")
        except InputError as error:
            return gr.skip(), problem(error)

    forgotten = remove.click(forget, corpus, [corpus, said], api_visibility="private")
    return [taken, forgotten]


def preview_columns(policy: Policy, file: str | None) -> list[Any]:
    """Updates of [chooser, text, id, title, label, message] for a file just chosen."""
    from ..corpora.readers import preview

    nothing = [gr.Group(visible=False), *[gr.Dropdown(choices=[], value=None)] * 4]
    if not file:
        return [*nothing, ""]
    try:
        policy.check_file(Path(file))
        seen = preview(Path(file))
    except InputError as error:
        return [*nothing, problem(error)]
    if len(seen.columns) < 2:
        return [*nothing, ""]
    optional = [("none", ""), *((c, c) for c in seen.columns)]
    guess = seen.guessed
    return [
        gr.Group(visible=True),
        gr.Dropdown(choices=list(seen.columns), value=guess.text),
        *(gr.Dropdown(choices=optional, value=value or "") for value in (guess.id, guess.title, guess.label)),
        "",
    ]


def read_own(
    policy: Policy, file: str | None, lines: str, dataset: str, chosen: tuple[str | None, ...], progress: Progress
) -> Corpus:
    """The corpus that was given, by file, pasted lines or hub dataset, in this order. Raises `InputError`."""
    from ..corpora.documents import Columns
    from ..corpora.readers import read_corpus, read_hub, read_lines

    policy.limits.check_upload(len(lines))
    if file:
        policy.check_file(Path(file))
        text, *others = chosen
        columns = Columns(text, *(other or None for other in others)) if text else None
        return read_corpus(Path(file), columns=columns, progress=progress)
    if lines.strip():
        return read_lines(lines)
    if dataset.strip():
        policy.allow("hub")
        name, _, split = (part.strip() for part in dataset.partition(","))
        return read_hub(name, split=split or "train", progress=progress)
    raise InputError("choose a file, paste some lines, or name a hub dataset first")
