"""The Fine-tune tab: can I make it better? Choose, start, follow, and compare before and after.

A fine-tune is `python -m explorer train` in the background (jobs.py): it goes on when the page closes, and any page that
opens later finds it. The page follows with a timer and keeps nothing of its own but which run is looked at.
"""

from __future__ import annotations

import re
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ..designs import STUDY_DESIGNS
from ..errors import InputError
from ..run import Run
from ..store import data_dir
from ..variants import PUBLISHED, TRAINED_HERE, short_name
from . import html, texts
from .html import SCROLLS, esc, note, problem
from .parts import HIDDEN, command_box, panel, run_buttons, switch
from .services import Services
from .sidebar import Sidebar, variant_choices, variant_colours
from .training_form import TrainingWanted, estimate, flags, training_fields

CURVES_EVERY = 5.0
"""Seconds between two redraws of the curves: each one mounts the plot anew."""


class Drawn(NamedTuple):
    """What the right side shows: which run, when its curves were drawn, and of how many steps."""

    id: str = ""
    when: float = 0.0
    steps: int = -1


@dataclass(frozen=True)
class Wanted(TrainingWanted):
    """What the form asks for, in the order of its inputs."""

    design: str
    name: str
    seed: float

    def options(self) -> dict[str, Any]:
        """Options of `train` apart from data and output."""
        return {"design": self.design, **self.training(), "seed": int(self.seed)}

    def arguments(self, output: Path | str) -> list[str]:
        """The command line after `train`. Raises `InputError` if it is not valid."""
        from ..training_config import TrainingConfig

        options = self.options()
        TrainingConfig(data=tuple(self.data), **options)  # refuses what the run would refuse, before it is queued
        return [*flags(options), "--data", *self.data, "--output", str(output)]

    def output(self) -> Path:
        """A folder of its own for the variant: what was typed, made safe, and numbered where it is taken."""
        wanted = re.sub(r"[^a-z0-9.-]+", "-", self.name.lower()).strip("-.")
        base = wanted or f"{self.design}-{time.strftime('%m%d-%H%M%S')}"
        folder = data_dir(*TRAINED_HERE, short_name(self.backbone)) / base
        number = 1
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{base}-{number}")
        return folder


def build_finetune(services: Services, sidebar: Sidebar, query: gr.Textbox, opened: Any) -> gr.Timer:
    """Draw the tab and wire it. `opened` is the event of opening it. The timer returned follows the runs; it starts
    with the tab, and the page stops it when another tab is opened."""
    panel(f"<h2>{texts.FINETUNE}</h2><p class='help'>{texts.FINETUNE_HELP}</p>")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            form = _form()
            with gr.Row():
                start = gr.Button("Start", variant="primary", elem_id="train-start")
                measure = gr.Button("Estimate time and memory", elem_id="train-estimate")
            said = panel(elem_id="train-said")
            with gr.Accordion("The exact command", open=False):
                command = command_box("train-command")
        with gr.Column(scale=3, min_width=320):
            watched = gr.Dropdown([], label="Run", elem_id="run-choice", filterable=False)
            state = panel(elem_id="run-state", value=note(texts.NO_RUNS))
            with gr.Row():
                stop = gr.Button("Stop", size="sm", scale=0, min_width=90, interactive=False, elem_id="run-stop")
                resume = gr.Button("Resume", size="sm", scale=0, min_width=90, interactive=False, elem_id="run-resume")
                delete = gr.Button("Delete", size="sm", scale=0, min_width=90, interactive=False, elem_id="run-delete")
            curves = gr.Plot(show_label=False, elem_id="run-curves", visible=False)
            drift = gr.Plot(show_label=False, elem_id="run-drift", visible=False)
            with gr.Accordion("Log", open=False):
                log = panel(html.log(""), elem_id="run-log")
    compare = gr.Button(
        "Compare before and after with the query of Compare", scale=0, min_width=400, elem_id="before-after"
    )
    after = panel(elem_id="before-after-result")
    overlay = _overlay(services)

    inputs = list(form.values())
    gr.on(
        [opened, *(c.change for c in inputs)],
        _described,
        inputs,
        [command, start],
        trigger_mode="always_last",
        **HIDDEN,
    )
    timer, drawn = gr.Timer(2.0, active=False), gr.State(Drawn())
    view = [watched, state, stop, resume, delete, curves, drift, log, drawn, overlay]

    def look(chosen: str | None, drawn: Drawn) -> tuple[Any, ...]:
        return show_run(services, chosen, drawn)

    def begin(*values: Any) -> tuple[Any, ...]:
        return start_run(services, Wanted(*values))

    def act(action: str):
        def run(chosen: str | None) -> str:
            return run_action(services, action, chosen)

        return run

    switch(opened, [timer], active=True)
    timer.tick(look, [watched, drawn], view, queue=False, **HIDDEN)
    watched.input(look, [watched, drawn], view, **HIDDEN)
    start.click(begin, inputs, [watched, said], **HIDDEN).then(look, [watched, drawn], view, **HIDDEN)
    measure.click(
        lambda *values: estimated(services, Wanted(*values)), inputs, said, api_visibility="private",
        show_progress_on=said, concurrency_limit=2,
    )  # fmt: skip
    for button, action in ((stop, "stop"), (resume, "resume"), (delete, "delete")):
        button.click(act(action), watched, said, **HIDDEN).then(look, [watched, drawn], view, **HIDDEN)
    compare.click(
        lambda chosen, corpus, query: before_and_after(services, chosen, corpus, query),
        [watched, sidebar.corpus, query], [after, sidebar.variants, sidebar.colours],
        api_visibility="private", show_progress_on=after, concurrency_limit=4,
    )  # fmt: skip
    return timer


def _form() -> dict[str, Any]:
    """The fields, in the order of `Wanted`."""
    design = gr.Dropdown(list(STUDY_DESIGNS), value="multi-layer-bidirectional", label="Design", elem_id="train-design")
    training = training_fields("train", "near-last")
    with gr.Row():
        name = gr.Textbox(label="Name of the variant (optional)", scale=3, elem_id="train-name")
        seed = gr.Number(0, label="Seed", precision=0, scale=1)
    return {**training, "design": design, "name": name, "seed": seed}


def _overlay(services: Services) -> gr.Dropdown:
    """Several runs laid over one another, and in what their configurations differ."""
    panel(f"<h3>{texts.OVERLAY}</h3><p class='help'>{texts.OVERLAY_HELP}</p>")
    chosen = gr.Dropdown([], multiselect=True, label="Runs", elem_id="overlay-choice")
    figure = gr.Plot(show_label=False, elem_id="overlay", visible=False)
    table = panel(elem_id="overlay-differences")
    chosen.input(lambda ids: overlaid(services, ids or []), chosen, [figure, table], **HIDDEN)
    return chosen


def _described(*values: Any) -> tuple[Any, Any]:
    """The exact command, and a start button that says what is missing."""
    wanted = Wanted(*values)
    if wanted.missing:
        return "", gr.Button(wanted.missing, interactive=False)
    try:
        line = shlex.join(["python", "-m", "explorer", "train", *wanted.arguments("DIR")])
    except InputError as error:
        return f"# {error}", gr.Button("A setting is not valid", interactive=False)
    return line, gr.Button("Start", interactive=True)


def listed(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Runs as choices of a list: (title and state, id)."""
    return [(f"{run.title} · {run.state}", run.id) for run in runs]


def runs_of(services: Services) -> list[Run]:
    """All fine-tunes, newest first."""
    return [run for run in services.runs.list() if run.kind == "train"]


def start_run(services: Services, wanted: Wanted) -> tuple[Any, ...]:
    """Queue a fine-tune. Updates of (run chosen, message)."""
    try:
        services.policy.allow("train")
        if wanted.missing:
            raise InputError(wanted.missing)
        output = wanted.output()
        run = services.runs.start("train", wanted.arguments(output), output.name, services.device())
    except InputError as error:
        return gr.skip(), problem(error)
    return gr.Dropdown(choices=listed(runs_of(services)), value=run.id), note(
        f"“{run.title}” is in the queue. You may close this page."
    )


def estimated(services: Services, wanted: Wanted) -> str:
    """Time, memory and trained parameters, from a few measured steps of the command's own --estimate-only."""
    try:
        services.policy.allow("train")
        if wanted.missing:
            raise InputError(wanted.missing)
        with tempfile.TemporaryDirectory() as folder:
            found = estimate("train", wanted.arguments(Path(folder) / "estimate"), services.device())
    except InputError as error:
        return problem(error)
    return note(
        f"About {found['seconds'] / 60:.1f} minutes ({found['seconds_per_step']:.1f} s a step), "
        f"{found['memory_bytes'] / 2**30:.1f} GiB of memory, {found['parameters']:,} trained parameters, "
        f"{found['pairs']:,} pairs."
    )


def run_action(services: Services, action: str, chosen: str | None) -> str:
    """Stop, resume or delete the chosen run; what was said."""
    try:
        if not chosen:
            raise InputError("choose a run first")
        if action == "delete":
            services.runs.delete(chosen)
            return note("The run was deleted. Its variant, if it made one, stays on the shelf.")
        run = services.runs.stop(chosen) if action == "stop" else services.runs.resume(chosen)
        return note(run.sentence)
    except InputError as error:
        return problem(error)


def show_run(services: Services, chosen: str | None, drawn: Drawn) -> tuple[Any, ...]:
    """Updates of the right side. Plots are drawn anew only when there is something new, and not every second."""
    from ..figures.training import layer_drift, training_curves

    runs = runs_of(services)
    choices = listed(runs)
    run = next((r for r in runs if r.id == chosen), runs[0] if runs else None)
    if run is None:
        off = gr.Button(interactive=False)
        empty = gr.Dropdown(choices=[], value=None)
        none = gr.Plot(visible=False)
        return empty, note(texts.NO_RUNS), off, off, off, none, none, html.log(""), drawn, gr.Dropdown(choices=[])
    steps = [r for r in services.runs.progress(run.id) if "step" in r]
    late = time.monotonic() - drawn.when > CURVES_EVERY or run.is_over
    due = drawn.id != run.id or (drawn.steps != len(steps) and late)
    figure: Any = gr.skip()
    drift: Any = gr.skip()
    if due:
        figure = gr.Plot(value=training_curves({run.title: steps}), visible=True)
        weights = [r for r in steps if r.get("layer_weights")]
        drift = gr.Plot(value=layer_drift(weights, run.title), visible=True) if weights else gr.Plot(visible=False)
        drawn = drawn._replace(id=run.id, when=time.monotonic(), steps=len(steps))
    return (
        gr.Dropdown(choices=choices, value=run.id), state_card(run, steps),
        *run_buttons(run), figure, drift, html.log(services.runs.log(run.id)), drawn,
        gr.Dropdown(choices=choices),
    )  # fmt: skip


def state_card(run: Run, steps: Sequence[Mapping[str, Any]]) -> str:
    """Where a run stands, in words and as a bar, with its last numbers."""
    last = steps[-1] if steps else {}
    dev: Mapping[str, float] = next((r["dev"] for r in reversed(steps) if r.get("dev")), {})
    facts = []
    if "loss" in last:
        facts.append(f"step {last['step']} of {last.get('steps', '?')}, loss {last['loss']:.3f}")
    facts += [f"held-out {name} {html.number(value)}" for name, value in dev.items()]
    share = (run.share or 0.0) * 100
    return (
        f'<div class="progress" role="progressbar" aria-valuenow="{share:.0f}" aria-label="progress">'
        f'<i style="width:{share:.1f}%"></i></div><p><b>{esc(run.title)}</b> {esc(run.sentence)}</p>'
        f'<p class="help">{esc(" · ".join(facts))}</p>'
    )


def trained_variant(services: Services, run: Run) -> str:
    """The name on the shelf of what a run made. Raises `InputError` if it made nothing (yet)."""
    services.shelf.refresh()
    for variant in services.shelf.variants:
        if run.output and variant.path and variant.path.resolve() == run.output.resolve():
            return variant.name
    raise InputError(f"“{run.title}” has made no variant yet: {run.sentence}")


def before_and_after(services: Services, chosen: str | None, corpus_name: str, query: str) -> tuple[Any, ...]:
    """The Compare query on the published model and on the run's variant, which joins the active ones.

    Before a fine-tune an untrained pooler is random, so "before" is the published model for every design.
    """
    try:
        if not chosen:
            raise InputError("choose a run first")
        name = trained_variant(services, services.runs.get(chosen))
        corpus = services.library.open(corpus_name)
        view = services.comparer.compare(corpus, query or texts.FIRST_QUERY["python-stdlib"], [PUBLISHED, name])
        many = services.comparer.compare_many(corpus, corpus.queries, [PUBLISHED, name]) if corpus.queries else None
    except InputError as error:
        return problem(error), gr.skip(), gr.skip()
    shown = html.columns(view, {}, html.ViewOptions(order=[PUBLISHED, name], reference=PUBLISHED))
    table = html.quality_table(many, PUBLISHED) if many and many.quality else ""
    return (
        f"<h3>“{esc(view.query)}” before and after</h3>{shown}{table}",
        gr.CheckboxGroup(choices=variant_choices(services), value=[PUBLISHED, name]),
        variant_colours(services),
    )


def overlaid(services: Services, ids: Sequence[str]) -> tuple[Any, str]:
    """Loss and dev curves of several runs in one figure, and a table of the options in which they differ."""
    from ..figures.training import training_curves

    try:
        runs = [services.runs.get(id) for id in ids]
    except InputError as error:
        return gr.Plot(visible=False), problem(error)
    if not runs:
        return gr.Plot(visible=False), ""
    curves = {f"{run.title}": [r for r in services.runs.progress(run.id) if "step" in r] for run in runs}
    return gr.Plot(value=training_curves(curves), visible=True), differences_table(runs)


def options_of(run: Run) -> dict[str, str]:
    """--name value … of a run's command."""
    found: dict[str, str] = {}
    name = ""
    for part in run.arguments:
        if part.startswith("--"):
            name, found[part[2:]] = part[2:], ""
        else:
            found[name] = f"{found.get(name, '')} {Path(part).name if name in ('data', 'output') else part}".strip()
    return found


def differences_table(runs: Sequence[Run]) -> str:
    """Options that are not the same in all runs."""
    options = [options_of(run) for run in runs]
    names = [n for n in dict.fromkeys(k for o in options for k in o) if n != "output"]
    differing = [n for n in names if len({o.get(n) for o in options}) > 1]
    if len(runs) < 2 or not differing:
        return note("These runs have the same settings.") if len(runs) > 1 else ""
    head = "".join(f'<th scope="col">{esc(run.title)}</th>' for run in runs)
    rows = ""
    for name in differing:
        cells = "".join(f"<td>{esc(o.get(name, 'default'))}</td>" for o in options)
        rows += f'<tr><th scope="row">{esc(name)}</th>{cells}</tr>'
    return f'<div class="scroll" {SCROLLS}><table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
