"""The Study tab: which design is truly better? The report first, the settings for one of one's own below.

A study is `python -m explorer study` in the background (jobs.py): it goes on when the page closes, and any page that
opens later finds it. study_view.py shows studies, study_form.py does what the form asks for.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..designs import STUDY_DESIGNS
from ..errors import InputError
from ..evaluation.builtin import BUILT_IN
from ..study.results import STUDY
from ..variants import BM25, PUBLISHED
from . import download_buttons, html
from . import texts_study as texts
from .closed import closed_note
from .html import note, problem
from .parts import HIDDEN, command_box, panel, switch
from .services import Services
from .sidebar import Sidebar, variant_choices, variant_colours
from .study_form import described, estimated, start_run, wanted_of
from .study_view import download, first_view, growable, put_on_shelf, run_action, show_study, shown_studies
from .training_form import training_fields

PAPERS_FIVE = [name for name in STUDY_DESIGNS if not name.startswith("mean-")]


def build_study(services: Services, sidebar: Sidebar, opened: Any) -> gr.Timer:
    """Draw the tab and wire it. `opened` is the event of opening it. The timer returned follows the runs; it starts
    with the tab, and the page stops it when another tab is opened."""
    panel(f"<h2>{texts.STUDY}</h2><p class='help'>{texts.STUDY_HELP}</p>")
    view = _view(services)
    if not services.policy.allows("study"):
        closed_note(services.policy, "study", texts.NEW)
        return _wire_view(services, sidebar, view, None, opened, gr.State(False))[0]
    panel(f"<h2>{texts.NEW}</h2><p class='help'>{texts.NEW_HELP}</p>", elem_id="study-new")
    form = _form(services)
    with gr.Row(elem_id="study-go"):
        start = gr.Button("Start", variant="primary", scale=0, min_width=180, elem_id="study-start")
        measure = gr.Button(texts.ESTIMATE, scale=0, min_width=200, elem_id="study-measure")
    wrong, told, said = (panel(elem_id=f"study-{name}") for name in ("wrong", "estimate", "said"))
    with gr.Accordion("The exact command", open=False):
        command = command_box("study-command")
    inputs = list(form.values())
    gr.on(
        [opened, *(c.change for c in inputs)],
        lambda *values: described(services, wanted_of(values)),
        inputs, [command, start, wrong], trigger_mode="always_last", **HIDDEN,
    )  # fmt: skip
    measure.click(
        lambda *values: estimated(services, wanted_of(values)), inputs, told, api_visibility="private",
        show_progress_on=told, concurrency_limit=2,
    )  # fmt: skip
    touched = gr.State(False)
    timer, look = _wire_view(services, sidebar, view, form["grow"], opened, touched)
    begun = start.click(
        lambda *values: start_run(services, wanted_of(values)), inputs, [view["choice"], said], **HIDDEN
    )
    begun.then(**look).then(lambda: True, None, touched, **HIDDEN)
    return timer


def _view(services: Services) -> dict[str, Any]:
    """Where a study is shown."""
    listed, chosen, said, written, drawn = first_view(services)
    choice = gr.Dropdown(
        listed,
        value=chosen,
        label=texts.CHOICE,
        info=texts.CHOICE_INFO if services.policy.allows("folder") else None,
        allow_custom_value=services.policy.allows("folder"),
        elem_id="study-choice",
    )
    state = panel(said, elem_id="study-state")
    with gr.Column(visible=False) as running:
        with gr.Row():
            stop = gr.Button("Stop", size="sm", scale=0, min_width=90, elem_id="study-stop")
            resume = gr.Button("Resume", size="sm", scale=0, min_width=90, elem_id="study-resume")
            delete = gr.Button("Delete", size="sm", scale=0, min_width=90, elem_id="study-delete")
        with gr.Accordion("Log", open=False):
            log = panel(html.log(""), elem_id="study-log")
    report = panel(written, elem_id="study-report")
    with gr.Column(visible=bool(written)) as more:
        buttons = download_buttons.draw("study", ("Report (HTML)", "Report (Markdown)", "All numbers (JSON)"))
        shelf = gr.Button(texts.SHELF_NOT, interactive=False, size="sm", scale=0, min_width=240, elem_id="study-shelf")
        shelved = panel(elem_id="study-shelved")
    return {
        "choice": choice, "state": state, "running": running, "stop": stop, "resume": resume, "delete": delete,
        "log": log, "report": report, "shelf": shelf, "more": more, "buttons": buttons, "shelved": shelved,
        "drawn": gr.State(drawn),
    }  # fmt: skip


def _form(services: Services) -> dict[str, Any]:
    """The fields, in the order of `Wanted`."""
    with gr.Row():
        with gr.Column(min_width=320):
            grow = gr.Dropdown(
                [("A new study", "")], value="", label=texts.WHERE, info=texts.WHERE_INFO, elem_id="study-grow"
            )
            designs = gr.CheckboxGroup(
                list(STUDY_DESIGNS), value=PAPERS_FIVE, label=texts.DESIGNS, info=texts.DESIGNS_INFO,
                elem_id="study-designs",
            )  # fmt: skip
            seeds = gr.Textbox("0, 1, 2", label=texts.SEEDS, info=texts.SEEDS_INFO, elem_id="study-seeds")
            training = training_fields("study", "near-mean")
        with gr.Column(min_width=320):
            tasks = gr.CheckboxGroup(list(BUILT_IN), value=list(BUILT_IN), label=texts.TASKS, elem_id="study-tasks")
            further = gr.Dropdown(
                [], value=[], multiselect=True, allow_custom_value=True, label=texts.FURTHER, info=texts.FURTHER_INFO,
                elem_id="study-further",
            )  # fmt: skip
            folder = gr.Textbox(label=texts.DATA_DIR, max_lines=1, elem_id="study-folder")
            baselines = gr.Dropdown(
                variant_choices(services), value=[PUBLISHED, BM25], multiselect=True, label=texts.BASELINES,
                info=texts.BASELINES_INFO, elem_id="study-baselines",
            )  # fmt: skip
            sample = gr.Number(0, label=texts.SAMPLE, info=texts.SAMPLE_INFO, precision=0, minimum=0)
            question = gr.Textbox(label=texts.QUESTION, max_lines=2, max_length=400, elem_id="study-question")
    return {
        **training, "grow": grow, "designs": designs, "seeds": seeds, "tasks": tasks, "further": further,
        "data_dir": folder, "baselines": baselines, "sample": sample, "question": question,
    }  # fmt: skip


def _wire_view(
    services: Services, sidebar: Sidebar, view: dict[str, Any], grow: gr.Dropdown | None, opened: Any,
    touched: gr.State,
) -> tuple[gr.Timer, dict[str, Any]]:  # fmt: skip
    """Choose, follow with a timer, stop, resume, delete, download. Returns the timer and the look at what is shown."""
    timer, drawn = gr.Timer(2.0, active=False), view["drawn"]
    choice, shelved = view["choice"], view["shelved"]
    names = "choice state running stop resume delete log report shelf more".split()
    look: dict[str, Any] = {
        "fn": lambda chosen, drawn: show_study(services, chosen, drawn), "inputs": [choice, drawn],
        "outputs": [*(view[name] for name in names), drawn], "trigger_mode": "always_last", **HIDDEN,
    }  # fmt: skip

    def act(action: str):
        def run(chosen: str | None) -> str:
            return run_action(services, action, chosen)

        return run

    def shelve(chosen: str | None) -> list[Any]:
        try:
            said = note(put_on_shelf(services, chosen))
        except InputError as error:
            return [problem(error), gr.skip(), gr.skip()]
        return [said, gr.CheckboxGroup(choices=variant_choices(services)), variant_colours(services)]

    switch(opened, [timer], active=True)
    opened(
        lambda chosen, drawn, touched: show_study(services, chosen if touched else None, drawn),
        [choice, drawn, touched], look["outputs"], **HIDDEN,
    )  # fmt: skip
    if grow is not None:
        opened(lambda: gr.Dropdown(choices=growable(shown_studies(services))), None, grow, **HIDDEN)
    timer.tick(**{**look, "trigger_mode": "once"}, queue=False)
    choice.input(**look).then(lambda: True, None, touched, **HIDDEN)
    for action in ("stop", "resume", "delete"):
        done = view[action].click(act(action), choice, shelved, **HIDDEN)
        done.then(lambda: None, None, choice, **HIDDEN).then(**look) if action == "delete" else done.then(**look)
    view["shelf"].click(shelve, choice, [shelved, sidebar.variants, sidebar.colours], **HIDDEN)
    makers = [download(services, name) for name in ("report.html", "report.md", STUDY)]
    download_buttons.wire(view["buttons"], makers, [choice])
    return timer, look
