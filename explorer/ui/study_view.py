"""What the Study tab shows: which studies there are, where one stands, its report. Plain functions, no page needed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ..designs import SMOLLM2
from ..errors import InputError
from ..run import Run
from ..store import data_dir
from ..study.results import STUDY, Study
from ..variants import short_name
from . import download_buttons, html, html_study
from . import texts_study as texts
from .html import note, problem
from .parts import run_buttons
from .services import Services

OUTPUT = "studies"
"""Where the page's studies go, below the user's data directory."""


@dataclass(frozen=True)
class Shown:
    """A study that can be looked at: one of the page's runs, or a folder that holds one."""

    title: str
    folder: Path
    run: Run | None = None
    """The newest run that worked on it."""
    shipped: bool = False

    @property
    def has_variants(self) -> bool:
        """Whether its trained variants are there, too."""
        return next(self.folder.glob("runs/*/*/variant.json"), None) is not None


class Drawn(NamedTuple):
    """What the page shows: which study, its run in which state, the report of when."""

    folder: str = ""
    run: str = ""
    state: str = ""
    stamp: int = 0


def shown_studies(services: Services) -> list[Shown]:
    """The page's own, newest first, then those beside the checkpoints, that of the language model before others."""
    home = short_name(SMOLLM2)
    found: dict[Path, Shown] = {}
    for run in services.runs.list():
        if run.kind == "study" and run.output and run.output not in found:
            when = time.strftime("%d %b %H:%M", time.localtime(run.created))
            found[run.output] = Shown(f"{run.title} · {when} · {run.state}", run.output, run)
    for root in services.shelf.folders:
        for file in sorted(root.glob(f"*/study/{STUDY}"), key=lambda file: (file.parts[-3] != home, file)):
            found.setdefault(file.parent, Shown(f"{_title(file.parent)} · shipped", file.parent, shipped=True))
    return list(found.values())


def _title(folder: Path) -> str:
    try:
        setup = Study.load(folder).setup
    except InputError:
        return folder.parent.name
    seeds = len(setup["seeds"])
    return f"{len(setup['designs'])} designs × {seeds} seed{'s' * (seeds > 1)} on {short_name(setup['backbone'])}"


def choices(studies: Sequence[Shown]) -> list[tuple[str, str]]:
    """Studies as choices of a list: (title, folder)."""
    return [(study.title, str(study.folder)) for study in studies]


def growable(studies: Sequence[Shown]) -> list[tuple[str, str]]:
    """Choices of what a form may add to: a new study, or one that has a plan."""
    there = [study for study in studies if not study.shipped and study.run and study.run.is_over]
    return [("A new study", ""), *choices([study for study in there if (study.folder / "plan.json").exists()])]


def find(services: Services, studies: Sequence[Shown], chosen: str | None) -> Shown | None:
    """The chosen study, or the folder that was typed; without a choice the one that runs, else the newest, else a
    shipped one.

    Raises `InputError` for a folder that holds none.
    """
    if chosen:
        for study in studies:
            if str(study.folder) == chosen:
                return study
        services.policy.allow("folder")
        folder = Path(chosen).expanduser()
        Study.load(folder)
        return Shown(folder.name, folder)
    going = [study for study in studies if study.run and not study.run.is_over]
    return next(iter([*going, *studies]), None)


def show_study(services: Services, chosen: str | None, drawn: Drawn) -> list[Any]:
    """Updates of (study chosen, state, run buttons' row, stop, resume, delete, log, report, shelf button, downloads,
    drawn). What is on the page already is left as it is, so that nothing that was opened there closes.
    """
    studies = shown_studies(services)
    try:
        study = find(services, studies, chosen)
    except InputError as error:
        return [gr.skip(), problem(error), *[gr.skip()] * 8, drawn]
    hidden = gr.Column(visible=False)
    if study is None:
        listing = gr.Dropdown(choices=[], value=None)
        return [listing, note(texts.NONE), hidden, *[gr.skip()] * 3, "", "", gr.skip(), hidden, Drawn()]
    listed = choices(studies)
    if str(study.folder) not in [value for _, value in listed]:
        listed.append((study.title, str(study.folder)))
    listing = gr.Dropdown(choices=listed, value=str(study.folder))
    stamp = _stamp(study.folder)
    run = study.run
    now = Drawn(str(study.folder), run.id if run else "", run.state if run else "", stamp)
    state: list[Any] = [gr.skip()] * 6
    if run is None and now[:3] != drawn[:3]:
        state = [note(texts.SHIPPED if study.shipped else texts.FOUND), hidden, *[gr.skip()] * 3, ""]
    elif run is not None:  # also when it is over: what reached the browser together with a later skip was lost
        card = html_study.run_card(run, services.runs.progress(run.id))
        state = [card, gr.Column(visible=True), *run_buttons(run), html.log(services.runs.log(run.id))]
    if (now.folder, now.stamp) == (drawn.folder, drawn.stamp):
        return [listing, *state, gr.skip(), gr.skip(), gr.skip(), now]
    if not stamp:
        return [listing, *state, note(texts.NOT_YET), *_kept(study), hidden, now]
    try:
        report = html_study.report(Study.load(study.folder))
    except InputError as error:
        return [listing, *state, problem(error), *_kept(study), hidden, now]
    return [listing, *state, report, *_kept(study), gr.Column(visible=True), now]


def first_view(services: Services) -> tuple[list[tuple[str, str]], str | None, str, str, Drawn]:
    """(choices, chosen, state, report, drawn) with which the page is built: the shipped study stands there at once."""
    studies = shown_studies(services)
    study = next((study for study in studies if study.shipped), None)
    if study is None:
        return choices(studies), None, "", "", Drawn()
    report = html_study.report(Study.load(study.folder))
    chosen = str(study.folder)
    return choices(studies), chosen, note(texts.SHIPPED), report, Drawn(chosen, stamp=_stamp(study.folder))


def _kept(study: Shown) -> list[Any]:
    kept = study.has_variants
    return [gr.Button(texts.SHELF if kept else texts.SHELF_NOT, interactive=kept)]


def _stamp(folder: Path) -> int:
    """When the study was written last; 0 if it was not yet."""
    try:
        return (folder / STUDY).stat().st_mtime_ns
    except OSError:
        return 0


def run_action(services: Services, action: str, chosen: str | None) -> str:
    """Stop, resume or delete the run of the chosen study; what was said."""
    try:
        study = find(services, shown_studies(services), chosen)
        if study is None or study.run is None:
            raise InputError("choose a study of yours first")
        run = study.run
        if action != "delete":
            return note((services.runs.stop if action == "stop" else services.runs.resume)(run.id).sentence)
        ours = data_dir(OUTPUT).resolve()
        for other in [r for r in services.runs.list() if r.kind == "study" and r.output == run.output]:
            services.runs.delete(other.id)
        if study.folder.resolve().parent == ours:
            shutil.rmtree(study.folder, ignore_errors=True)
            services.shelf.refresh()
            return note("The study and its variants were deleted.")
        return note("The run was deleted. Its results lie outside the page’s own folder and stay.")
    except InputError as error:
        return problem(error)


def put_on_shelf(services: Services, chosen: str | None) -> str:
    """The study's variants join the shelf. Says how many; raises `InputError` if there are none."""
    services.policy.allow("shelf")
    study = find(services, shown_studies(services), chosen)
    if study is None or not study.has_variants:
        raise InputError("this study kept no variants; choose one that was made here")
    count = len(services.shelf.add_folder(study.folder / "runs"))
    return texts.ON_SHELF.format(what=f"{count} variant{' is' if count == 1 else 's are'}")


def download(services: Services, name: str) -> Callable[[str | None], str]:
    """Makes a file of the chosen study: its document, or a report written from it."""
    from ..study.markdown import to_markdown
    from ..study.report import to_html

    def make(chosen: str | None) -> str:
        found = find(services, shown_studies(services), chosen)
        if found is None or not _stamp(found.folder):
            raise InputError("there is no report yet")
        study = Study.load(found.folder)
        if name == STUDY:
            return download_buttons.file(name, (found.folder / STUDY).read_bytes())
        return download_buttons.file(name, to_html(study) if name.endswith(".html") else to_markdown(study))

    return make
