"""The Evaluate tab: is it truly better? Choose variants and tasks, start, follow, read the table and what it proves.

An evaluation is `python -m explorer evaluate` in the background (jobs.py): it goes on when the page closes, and any page
that opens later finds it. evaluate_menu.py offers the tasks, evaluate_form.py does what the form asks for, evaluate_runs.py
shows the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..errors import InputError
from ..evaluation.builtin import BUILT_IN
from . import download_buttons, html
from . import texts_evaluate as texts
from .evaluate_form import (
    add_own,
    described,
    instruction_lines,
    look_into,
    read_menu,
    start_run,
    task_cards,
    wanted_of,
)
from .evaluate_menu import Menu, plain_cards, speeds_of
from .evaluate_runs import Drawn, Opened, Results, asked_query, download, evaluation_of, run_action, show_run, worst_of
from .html import note, problem
from .parts import HIDDEN, JS, command_box, panel, switch, toast
from .services import Services
from .sidebar import Sidebar, variant_choices


@dataclass
class Evaluate:
    """What the page wires further."""

    timer: gr.Timer
    """Follows the runs; it starts with the tab, and the page stops it when another tab is opened."""
    worst: gr.HTML
    """`click` is the event of opening a query in Compare."""
    asked_query: Callable[[str | None, str | None, Mapping[str, Any]], Opened]
    """(run, task, what was clicked) -> what Compare is to show."""
    inputs: list[Any]
    """Run and task."""


def build_evaluate(services: Services, sidebar: Sidebar, opened: Any) -> Evaluate:
    """Draw the tab and wire it. `opened` is the event of opening it."""
    menu, results = Menu(), Results()
    panel(f"<h2>{texts.EVALUATE}</h2><p class='help'>{texts.EVALUATE_HELP}</p>")
    form, extra = _form(services)
    with gr.Row(elem_id="evaluate-go"):
        start = gr.Button("Start", variant="primary", scale=0, min_width=180, elem_id="evaluate-start")
        measure = gr.Button(texts.MEASURE, scale=0, min_width=200, elem_id="evaluate-measure")
    estimate = panel(elem_id="evaluate-estimate")
    said = panel(elem_id="evaluate-said")
    with gr.Accordion("The exact command", open=False):
        command = command_box("evaluate-command")
    view = _view()
    speeds, touched = gr.State({}), gr.State(False)

    form_inputs = list(form.values())
    _wire_form(services, menu, sidebar, form, extra, opened, speeds, touched, (measure, estimate))
    gr.on(
        [opened, *(c.change for c in form_inputs), speeds.change],
        lambda speeds, *values: described(services, menu, wanted_of(menu, values), speeds),
        [speeds, *form_inputs], [command, start, estimate], trigger_mode="always_last", **HIDDEN,
    )  # fmt: skip

    def begin(*values: Any) -> tuple[Any, ...]:
        return start_run(services, menu, wanted_of(menu, values))

    timer = _wire_view(services, results, view, opened, said)
    look = view["look"]
    start.click(begin, form_inputs, [view["watched"], said], **HIDDEN).then(**look)

    def asked(chosen: str | None, task: str | None, data: Mapping[str, Any]) -> Opened:
        try:
            return asked_query(services, results, chosen, task, data)
        except InputError as error:
            raise toast(error) from error

    return Evaluate(timer, view["worst"], asked, [view["watched"], view["task"]])


def _form(services: Services) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields in the order of `Wanted`, and what helps to fill them."""
    choices = variant_choices(services)
    variants = gr.Dropdown(
        choices, value=services.default_variants(), multiselect=True, label="Variants to evaluate",
        info=texts.VARIANTS_INFO, elem_id="evaluate-variants",
    )  # fmt: skip
    built_in = gr.CheckboxGroup(
        plain_cards(), value=list(BUILT_IN), label=texts.BUILT_IN, elem_id="evaluate-builtin", elem_classes="task-cards"
    )
    reading = panel(elem_id="evaluate-reading")
    with gr.Accordion("Official tasks of mteb", open=False, elem_id="evaluate-official"):
        folder = gr.Textbox(label=texts.DATA_DIR, info=texts.DATA_DIR_INFO, max_lines=1, elem_id="evaluate-folder")
        looked = panel(elem_id="evaluate-folder-said")
        small = gr.CheckboxGroup([], label=texts.SMALL, elem_id="evaluate-small", elem_classes="task-cards")
        further = gr.Dropdown(
            [], value=[], multiselect=True, allow_custom_value=True, label=texts.FURTHER, info=texts.FURTHER_INFO,
            elem_id="evaluate-further",
        )  # fmt: skip
    with gr.Accordion(texts.OWN, open=False, elem_id="evaluate-own"):
        panel(f"<p class='help'>{texts.OWN_HELP}</p>")
        with gr.Row():
            path = gr.Textbox(label="Folder, file or corpus name", max_lines=1, elem_id="evaluate-path")
            kind = gr.Dropdown(list(texts.KINDS), value="", label="What it is", elem_id="evaluate-kind")
        upload = gr.File(label="or a file: a zipped BEIR folder, CSV, TSV, JSON Lines, Parquet", height=110,
                         elem_id="evaluate-upload")  # fmt: skip
        add = gr.Button("Add this task", size="sm", elem_id="evaluate-add")
        added = panel(elem_id="evaluate-added")
        own = gr.Dropdown([], value=[], multiselect=True, label="Own tasks to evaluate", elem_id="evaluate-own-tasks")
    with gr.Accordion("Sample and instructions", open=False, elem_id="evaluate-options"):
        with gr.Row():
            sample = gr.Number(
                0, label=texts.SAMPLE, info=texts.SAMPLE_INFO, precision=0, minimum=0, elem_id="evaluate-sample"
            )
            instructions = gr.Radio(list(texts.INSTRUCTIONS), value="paper", label="Instructions before the texts")
        instruct = gr.Textbox(
            label=texts.INSTRUCT, info=texts.INSTRUCT_INFO, lines=5, max_lines=12, elem_id="evaluate-instruct"
        )
    form = {
        "variants": variants, "built_in": built_in, "small": small, "further": further, "own": own, "data_dir": folder,
        "sample": sample, "instructions": instructions, "instruct": instruct,
    }  # fmt: skip
    extra = {
        "reading": reading,
        "looked": looked,
        "path": path,
        "kind": kind,
        "upload": upload,
        "add": add,
        "added": added,
    }
    return form, extra


def _view() -> dict[str, Any]:
    """Where a run and its results are shown."""
    panel("<h3>Runs</h3>")
    watched = gr.Dropdown([], label="Run", elem_id="evaluation-choice", filterable=False)
    state = panel(elem_id="evaluation-state", value=note(texts.NO_RUNS))
    with gr.Row():
        stop = gr.Button("Stop", size="sm", scale=0, min_width=90, interactive=False, elem_id="evaluation-stop")
        resume = gr.Button("Resume", size="sm", scale=0, min_width=90, interactive=False, elem_id="evaluation-resume")
        delete = gr.Button("Delete", size="sm", scale=0, min_width=90, interactive=False, elem_id="evaluation-delete")
    with gr.Accordion("Log", open=False):
        log = panel(html.log(""), elem_id="evaluation-log")
    table = panel(elem_id="evaluation-table")
    with gr.Column(visible=False) as more:
        labels = ("Table (CSV)", "Table (JSON)", "Table (LaTeX)", "Table (Markdown)")
        buttons = download_buttons.draw("evaluation", labels)
        panel(f"<h3>{texts.TESTS}</h3><p class='help'>{texts.TESTS_HELP}</p>")
        tests = panel(elem_id="evaluation-tests")
        panel(f"<h3>{texts.WORST}</h3><p class='help'>{texts.WORST_HELP}</p>")
        with gr.Row():
            task = gr.Dropdown([], label="Task", elem_id="worst-task")
            variant = gr.Dropdown([], label="Variant", elem_id="worst-variant")
        worst = panel(elem_id="evaluation-worst", js_on_load=JS)
    return {
        "watched": watched, "state": state, "stop": stop, "resume": resume, "delete": delete, "log": log,
        "table": table, "more": more, "tests": tests, "task": task, "variant": variant, "worst": worst, "buttons": buttons,
    }  # fmt: skip


def _wire_form(
    services: Services, menu: Menu, sidebar: Sidebar, form: dict[str, Any], extra: dict[str, Any], opened: Any,
    speeds: gr.State, touched: gr.State, estimate: tuple[gr.Button, gr.HTML],
) -> None:  # fmt: skip
    """Tasks are read when the tab is first opened; the sidebar's variants are taken over until others are chosen."""
    measure, told = estimate
    variants, built_in, small, further, own = (form[k] for k in ("variants", "built_in", "small", "further", "own"))
    folder, sample, instruct = form["data_dir"], form["sample"], form["instruct"]

    def relabel(speeds: dict[str, float], folder: str, sample: float | None) -> list[Any]:
        return task_cards(menu, folder, speeds, sample)

    def taken_over(active: list[str], chosen: list[str], touched: bool) -> Any:
        known = {v.name for v in services.shelf.variants}
        value = [name for name in (chosen if touched else active) or [] if name in known]
        return gr.Dropdown(choices=variant_choices(services), value=value, multiselect=True)

    def measured(chosen: list[str], load: bool) -> tuple[Any, str]:
        try:
            return speeds_of(services, menu, chosen or [], load), ""
        except InputError as error:
            return gr.skip(), problem(error)

    def reading() -> Iterator[tuple[Any, ...]]:
        yield from read_menu(menu)

    lines: dict[str, Any] = {
        "fn": lambda folder, text, *chosen: instruction_lines(menu, folder, text, chosen),
        "inputs": [folder, instruct, built_in, small, further, own], "outputs": instruct, **HIDDEN,
    }  # fmt: skip
    cards_: dict[str, Any] = {
        "fn": relabel, "inputs": [speeds, folder, sample], "outputs": [built_in, small], **HIDDEN,
    }  # fmt: skip
    remeasure: dict[str, Any] = {
        "fn": lambda chosen: measured(chosen, False), "inputs": variants, "outputs": [speeds, extra["reading"]],
        "trigger_mode": "always_last", **HIDDEN,
    }  # fmt: skip
    entered = opened(taken_over, [sidebar.variants, variants, touched], variants, **HIDDEN)
    read = entered.then(reading, None, [extra["reading"], further], concurrency_limit=2, **HIDDEN)
    read.then(**remeasure).then(**cards_).then(**lines)
    variants.input(lambda: True, None, touched, **HIDDEN).then(**remeasure).then(**cards_)
    sample.change(**cards_)
    measure.click(
        lambda chosen: measured(chosen, True), variants, [speeds, told], api_visibility="private", show_progress_on=told,
        concurrency_limit=2,
    ).then(**cards_)  # fmt: skip
    for group in (built_in, small, further, own):
        group.change(**lines)
    looked = gr.on(
        [folder.submit, folder.blur], lambda folder: look_into(menu, folder), folder, [extra["looked"], small], **HIDDEN
    )
    looked.then(**cards_).then(**lines)
    extra["add"].click(
        lambda path, *rest: add_own(menu, str(services.library.folder_of(path) or path), *rest), [extra["path"], extra["kind"], extra["upload"], own],
        [own, extra["added"], extra["path"], extra["upload"]], api_visibility="private", show_progress_on=extra["added"],
        concurrency_limit=2,
    ).then(**lines)  # fmt: skip


def _wire_view(services: Services, results: Results, view: dict[str, Any], opened: Any, said: gr.HTML) -> gr.Timer:
    """Follow runs with a timer; choose, stop, resume, delete; downloads and worst examples."""
    timer, drawn = gr.Timer(2.0, active=False), gr.State(Drawn())
    watched, task, variant = view["watched"], view["task"], view["variant"]
    names = "watched state stop resume delete log table more tests task variant worst".split()
    look: dict[str, Any] = {
        "fn": lambda *values: show_run(services, results, *values), "inputs": [watched, drawn, task, variant],
        "outputs": [*(view[name] for name in names), drawn], "trigger_mode": "always_last", **HIDDEN,
    }  # fmt: skip
    view["look"] = look

    def act(action: str):
        def run(chosen: str | None) -> str:
            return run_action(services, action, chosen)

        return run

    def worst(chosen: str | None, task: str | None, variant: str | None) -> str:
        try:
            return worst_of(evaluation_of(services, results, chosen)[1], task, variant)
        except InputError as error:
            return problem(error)

    switch(opened, [timer], active=True)
    opened(**look)
    timer.tick(**{**look, "trigger_mode": "once"}, queue=False)
    watched.input(**look)
    for action in ("stop", "resume", "delete"):
        view[action].click(act(action), watched, said, **HIDDEN).then(**look)
    gr.on([task.input, variant.input], worst, [watched, task, variant], view["worst"], **HIDDEN)
    makers = [download(services, results, kind) for kind in ("csv", "json", "tex", "md")]
    download_buttons.wire(view["buttons"], makers, [watched])
    return timer
