"""What the Evaluate tab's form asks for and does: plain functions, no page needed."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import InputError
from ..evaluation.tasks import Task
from ..store import content_hash, data_dir
from ..variants import Shelf, embedded_backbones
from . import texts_evaluate as texts
from .evaluate_menu import Menu, card, cards, folder_of, time_of
from .evaluate_runs import OUTPUT, listed, new_output, runs_of
from .html import note, problem
from .services import Services

TITLE_NAMES = 2
"""So many tasks are named in a run's title; more are counted."""


@dataclass(frozen=True)
class Wanted:
    """What the form asks for, in the order of its inputs."""

    variants: list[str]
    built_in: list[str]
    small: list[str]
    further: list[str]
    own: list[str]
    data_dir: str = ""
    sample: float | None = None
    instructions: str = "paper"
    instruct: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Task -> the instruction it has by itself, as far as known: lines that say the same are no change."""

    @property
    def named(self) -> list[str]:
        """Tasks asked for by name."""
        return list(dict.fromkeys(name.strip() for name in (*self.built_in, *self.small, *self.further)))

    @property
    def tasks(self) -> list[str]:
        """All tasks asked for."""
        return [*self.named, *self.own]

    @property
    def missing(self) -> str:
        """What is missing before it can start; empty when nothing is."""
        if not self.variants:
            return "Choose a variant first"
        if not self.tasks:
            return "Choose a task first"
        return ""

    @property
    def title(self) -> str:
        """What a list of runs calls it."""
        names = [*self.named, *(Path(name.partition(":")[2]).stem or name for name in self.own)]
        told = ", ".join(names[:TITLE_NAMES]) + (f" + {len(names) - TITLE_NAMES}" if len(names) > TITLE_NAMES else "")
        count = f"{len(self.variants)} variants" if len(self.variants) > 1 else self.variants[0]
        return f"{count} on {told}" + (f", sample of {int(self.sample)}" if self.sample else "")

    def instruct_options(self) -> list[str]:
        """TASK=TEXT of every line that was changed. Raises `InputError` for a line that is none."""
        found = []
        for line in self.instruct.splitlines():
            name, equals, text = (part.strip() for part in line.partition("="))
            if not line.strip():
                continue
            if not equals or not name:
                raise InputError(f"the line '{line[:60]}' is no instruction; write TASK = instruction")
            if text and text != self.defaults.get(name):
                found.append(f"{name}={text}")
        return found

    def arguments(self, output: Path | str, shelf: Shelf) -> list[str]:
        """The command line after `evaluate`. Raises `InputError` if it is not valid."""
        from ..evaluation.engine import EvaluationConfig

        sample = None if self.sample is None else int(self.sample)
        folder = folder_of(self.data_dir)
        # refuses what the run would refuse, before it is queued
        EvaluationConfig(tuple(self.variants), tuple(self.tasks), folder, sample, self.instructions)
        flags = ["--variants", ",".join(self.variants)]
        flags += ["--tasks", ",".join(self.named)] if self.named else []
        flags += [part for name in self.own for part in ("--task", name)]
        flags += ["--data-dir", str(folder)] if folder else []
        flags += ["--sample", str(sample)] if sample is not None else []
        flags += ["--instructions", self.instructions]
        flags += [part for text in self.instruct_options() for part in ("--instruct", text)]
        return [*flags, *model_options(shelf), "--output", str(output)]


def model_options(shelf: Shelf) -> list[str]:
    """The options that put on the command's shelf what is on the page's."""
    flags = [] if shelf.dtype == "auto" else ["--dtype", shelf.dtype]
    named = (
        ("--backbone", [id for id in shelf.backbone_ids if id not in embedded_backbones()]),
        ("--contender", shelf.contenders),
        ("--checkpoints", shelf.folders[2:]),
    )
    flags += [part for flag, values in named for value in values for part in (flag, str(value))]
    return [*flags, *(["--trust-remote-code"] if shelf.trust_remote_code else [])]


def wanted_of(menu: Menu, values: Sequence[Any]) -> Wanted:
    """The form's values, empty lists for nothing chosen, with the instructions that are known."""
    variants, built_in, small, further, own = (list(v or []) for v in values[:5])
    folder, sample, instructions, instruct = values[5:]
    try:
        where = folder_of(folder)
    except InputError:
        where = None
    known = [menu.known(asked, where) for asked in (*built_in, *small, *further, *own)]
    defaults = {task.name: task.instruction for task in known if task}
    return Wanted(
        variants, built_in, small, further, own, folder or "", sample or None, instructions, instruct or "", defaults
    )


def known_tasks(menu: Menu, wanted: Wanted) -> list[Task]:
    """The chosen tasks that were read already."""
    try:
        folder = folder_of(wanted.data_dir)
    except InputError:
        folder = None
    return [task for task in (menu.known(asked, folder) for asked in wanted.tasks) if task]


def described(services: Services, menu: Menu, wanted: Wanted, speeds: Mapping[str, float]) -> tuple[Any, ...]:
    """The exact command, a start button that says what is missing, and how long it will take."""
    if wanted.missing:
        return "", gr.Button(wanted.missing, interactive=False), ""
    try:
        line = shlex.join(["python", "-m", "explorer", "evaluate", *wanted.arguments("DIR", services.shelf)])
    except InputError as error:
        return f"# {error}", gr.Button("A setting is not valid", interactive=False), problem(error)
    sample = int(wanted.sample) if wanted.sample else None
    told = time_of(services, known_tasks(menu, wanted), wanted.variants, speeds, sample)
    return line, gr.Button("Start", interactive=True), note(told)


def task_cards(menu: Menu, folder: str, speeds: Mapping[str, float], sample: float | None) -> list[Any]:
    """Updates of (built-in tasks, small official tasks): what the cards say."""
    if not menu.ready():
        return [gr.skip(), gr.skip()]
    count = int(sample) if sample and sample >= 1 else None
    try:
        small = menu.small(folder_of(folder))
    except InputError:
        small = menu.small(None)
    return [gr.CheckboxGroup(choices=cards(tasks, speeds, count)) for tasks in (menu.built_in(), small)]


def read_menu(menu: Menu) -> Iterator[tuple[Any, ...]]:
    """Updates of (message, further tasks) while the list of tasks is read, which takes seconds the first time."""
    if not menu.ready():
        yield note(texts.READING, "busy"), gr.skip()
    try:
        menu.built_in()
        yield "", gr.Dropdown(choices=menu.names(), multiselect=True)
    except InputError as error:
        yield problem(error), gr.skip()


def look_into(menu: Menu, folder: str) -> tuple[Any, ...]:
    """Updates of (message, small tasks): what lies in a folder of local data is chosen."""
    from ..evaluation.catalogue import local_tasks

    try:
        where = folder_of(folder)
        here = local_tasks(where) if where else []
        tasks = menu.small(where)
    except InputError as error:
        return problem(error), gr.skip()
    said = ""
    if where:
        said = f"{len(here)} official tasks have their data there." if here else f"“{where.name}” holds no task’s data."
    return note(said), gr.CheckboxGroup(
        choices=cards(tasks, {}, None), value=[name for name in here if name.rpartition(".v")[0] not in here][:12]
    )


def instruction_lines(menu: Menu, folder: str, text: str, chosen: Sequence[Sequence[str] | None]) -> str:
    """The instructions of the chosen tasks, one a line; what was changed by hand stays."""
    pairs = [line.split("=", 1) for line in (text or "").splitlines() if "=" in line]
    typed = {name.strip(): words.strip() for name, words in pairs}
    try:
        where = folder_of(folder)
    except InputError:
        where = None
    lines = []
    for asked in dict.fromkeys(name for of in chosen for name in of or []):
        try:
            task = menu.known(asked, where) or (menu.task(asked, where) if menu.ready() else None)
        except InputError:
            continue  # starting says what is wrong with it
        name = task.name if task else asked
        words = typed.get(name) or (task.instruction if task else "")
        if words:
            lines.append(f"{name} = {words}")
    return "\n".join(lines)


def add_own(menu: Menu, path: str, kind: str, upload: str | None, own: list[str] | None) -> tuple[Any, ...]:
    """Updates of (own tasks, message, path, upload): one's own data as a task, read once to see that it is one."""
    try:
        place = kept_upload(upload) if upload else (path or "").strip()
        if not place:
            raise InputError("name a folder, a file or a corpus first, or choose a file")
        asked = f"{kind}:{place}" if kind else place
        task = menu.task(asked)
        if task.source != "own":
            raise InputError(f"'{place[:60]}' is a task already; choose it among the tasks above")
    except InputError as error:
        return gr.skip(), problem(error), gr.skip(), gr.skip()
    chosen = list(dict.fromkeys([*(own or []), asked]))
    choices = [((made.name if (made := menu.known(name)) else name), name) for name in chosen]
    said = note(" · ".join([*card(task).split("\n"), *task.notes]))
    return gr.Dropdown(choices=choices, value=chosen, multiselect=True), said, "", None


def kept_upload(file: str) -> str:
    """A copy of an uploaded file that stays: the page's own uploads go after a day, and a run may be resumed later."""
    source = Path(file)
    try:
        folder = data_dir(OUTPUT, "data", content_hash([source.read_bytes()])[:12])
        return str(shutil.copyfile(source, folder / source.name))
    except OSError as error:
        raise InputError(f"the file '{source.name[:60]}' cannot be read ({type(error).__name__})") from error


def start_run(services: Services, menu: Menu, wanted: Wanted) -> tuple[Any, ...]:
    """Queue an evaluation. Updates of (run chosen, message)."""
    try:
        services.policy.allow("evaluate")
        if wanted.missing:
            raise InputError(wanted.missing)
        folder = folder_of(wanted.data_dir)
        for asked in wanted.further:
            menu.task(asked, folder)  # a name that is misspelled is said now, not by the run
        output = new_output()
        run = services.runs.start("evaluate", wanted.arguments(output, services.shelf), wanted.title, services.device())
    except InputError as error:
        return gr.skip(), problem(error)
    return gr.Dropdown(choices=listed(runs_of(services)), value=run.id), note(
        f"“{run.title}” is in the queue. You may close this page."
    )
