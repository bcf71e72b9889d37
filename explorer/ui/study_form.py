"""What the Study tab's form asks for and does: plain functions, no page needed."""

from __future__ import annotations

import re
import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import InputError
from ..run import duration
from ..store import data_dir
from ..study.commands import seeds_of
from ..study.plan import StudyPlan
from .evaluate_menu import folder_of
from .html import note, problem
from .services import Services
from .study_view import OUTPUT, choices, shown_studies
from .training_form import TrainingWanted, estimate, flags


@dataclass(frozen=True)
class Wanted(TrainingWanted):
    """What the form asks for, in the order of its inputs."""

    grow: str
    """The folder of a study to add to; empty for a new one, and only then the training settings count."""
    designs: list[str]
    seeds: str
    tasks: list[str]
    further: list[str]
    data_dir: str
    baselines: list[str]
    sample: float | None
    question: str

    @property
    def missing(self) -> str:
        """What is missing before it can start; empty when nothing is."""
        if not self.designs:
            return "Choose a design first"
        if not self.seeds.strip():
            return "Give a seed first"
        if not self.tasks and not self.further:
            return "Choose a task first"
        return "" if self.grow else super().missing

    @property
    def title(self) -> str:
        """What a list of runs calls it."""
        count = len(seeds_of(self.seeds))
        runs = f"{_many(len(self.designs), 'design')} × {_many(count, 'seed')}"
        return f"{runs} on {_many(len(self.tasks) + len(self.further), 'task')}"

    def arguments(self, output: Path | str, services: Services) -> list[str]:
        """The command line after `study`. Raises `InputError` if it is not valid."""
        services.policy.allow("study")
        seeds = seeds_of(self.seeds)
        folder = folder_of(self.data_dir)
        training = {} if self.grow else {**self.training(), "data": tuple(self.data)}
        # refuses what the run would refuse, before it is queued
        checked = training or dict(_grown(self.grow).training)
        baselines = tuple(services.shelf.find(name).name for name in self.baselines)
        StudyPlan(checked, tuple(self.designs), seeds, (*self.tasks, *self.further), baselines or None)
        asked = ["--designs", ",".join(self.designs), "--seeds", ",".join(map(str, seeds))]
        asked += ["--tasks", ",".join(self.tasks)] if self.tasks else []
        asked += [part for name in self.further for part in ("--task", name)]
        asked += ["--baselines", ",".join(baselines)] if baselines else []
        if not self.grow:
            asked += ["--data-dir", str(folder)] if folder else []
            asked += ["--sample", str(int(self.sample))] if self.sample else []
            asked += ["--question", self.question.strip()] if self.question.strip() else []
            data = training.pop("data")
            asked += [*flags(training), "--data", *data]
            asked += ["--dtype", services.shelf.dtype] if services.shelf.dtype != "auto" else []
        return [*asked, "--output", str(output)]

    def output(self) -> Path:
        """Where it goes: the study to add to, or a folder of its own."""
        if self.grow:
            return Path(self.grow)
        words = re.sub(r"[^a-z0-9]+", "-", self.question.lower())[:40].strip("-")
        base = folder = data_dir(OUTPUT) / f"{time.strftime('%Y%m%d-%H%M%S')}{f'-{words}' if words else ''}"
        number = 1
        while folder.exists():
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
        return folder


def _grown(folder: str) -> StudyPlan:
    """The plan of the study to add to. Raises `InputError` if it is gone."""
    plan = StudyPlan.load(Path(folder))
    if plan is None:
        raise InputError("the study to add to is not there any more")
    return plan


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def wanted_of(values: tuple[Any, ...]) -> Wanted:
    """The form's values, empty lists and texts for nothing chosen."""
    made = Wanted(*values)
    lists = {name: list(getattr(made, name) or []) for name in ("designs", "tasks", "further", "baselines")}
    words = {name: getattr(made, name) or "" for name in ("grow", "seeds", "data_dir", "question", "hub", "backbone")}
    return Wanted(**{**vars(made), **lists, **words})


def described(services: Services, wanted: Wanted) -> tuple[Any, ...]:
    """Updates of (the exact command, a start button that says what is missing, what is wrong)."""
    if wanted.missing:
        return "", gr.Button(wanted.missing, interactive=False), ""
    try:
        where = wanted.grow or "DIR"
        line = shlex.join(["python", "-m", "explorer", "study", *wanted.arguments(where, services)])
    except InputError as error:
        return f"# {error}", gr.Button("A setting is not valid", interactive=False), problem(error)
    return line, gr.Button("Start", interactive=True), ""


def estimated(services: Services, wanted: Wanted) -> str:
    """Time of all that is missing, from measured steps of every design and a measured speed of encoding."""
    try:
        services.policy.allow("study")
        if wanted.missing:
            raise InputError(wanted.missing)
        with tempfile.TemporaryDirectory() as folder:
            output = wanted.grow or Path(folder) / "estimate"
            found = estimate("study", wanted.arguments(output, services), services.device())
    except InputError as error:
        return problem(error)
    return note(
        f"About {duration(found['seconds'])} on this machine: {_many(len(found['runs_to_train']), 'training')} "
        f"({duration(found['training_seconds'])}), encoding for {_many(len(found['runs_to_evaluate']), 'run')} "
        f"({duration(found['evaluation_seconds'])}). Scoring comes on top."
    )


def start_run(services: Services, wanted: Wanted) -> tuple[Any, ...]:
    """Queue a study. Updates of (study chosen, message)."""
    try:
        services.policy.allow("study")
        if wanted.missing:
            raise InputError(wanted.missing)
        output = wanted.output()
        going = [s for s in shown_studies(services) if s.folder == output and s.run and not s.run.is_over]
        if going:
            raise InputError("this study is running; add to it when it has ended")
        title = wanted.question.strip() or wanted.title
        run = services.runs.start("study", wanted.arguments(output, services), title, services.device())
    except InputError as error:
        return gr.skip(), problem(error)
    listed = choices(shown_studies(services))
    return gr.Dropdown(choices=listed, value=str(output)), note(
        f"“{run.title}” is in the queue. You may close this page."
    )
