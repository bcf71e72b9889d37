"""Makes what is missing of a study: trains, evaluates, measures latency; what is finished is never made again.

    study = execute(plan_for(output, asked), output)

Each run is independent of the others and whole by itself: runs of one study can be made on several machines (`only`)
and collected afterwards (collect.py). After every run study.json tells what there is.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from ..designs import DESIGNS
from ..errors import Cancelled, InputError
from ..store import Cancel, whole_file
from ..training import finished, train
from ..variants import Shelf
from .evidence import EVALUATION, LATENCY, finished_record, hardware_words, hashes, read_cell
from .meter import Meter
from .plan import Cell, StudyPlan, comparable
from .report import write_reports
from .results import STUDY, Latency, Study
from .summary import summarize

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..evaluation.tasks import Task

LATENCY_TEXTS = 32
WARM_UP = 4
REST = 20
"""Between two rounds of tests so many times what they take."""
TEXT = "A short passage about how tides rise and fall twice a day, and why they differ between one coast and the next."


def execute(plan: StudyPlan, output: Path, only: Sequence[str] = (), cancel: Cancel | None = None) -> Study:
    """Make the missing runs (of those that `only` names), then tests and reports.

    SIGTERM, SIGINT or `cancel` stop it: what is finished stays, a training goes on from its last step the next time,
    and `Study.stopped` is true. A run that fails is told, the others go on. Raises `InputError` for what cannot be
    used, before anything is trained, and if no run at all could be made.
    """
    from ..evaluation.engine import stopped_by_signals

    cancel = cancel or threading.Event()
    cells = plan.chosen(only)
    with stopped_by_signals(cancel):
        tasks = study_tasks(plan)
        work = _Execution(plan, output, tasks, cells, cancel)
        plan.save(output)
        work.go()
        return work.conclude()


def report_only(plan: StudyPlan, output: Path) -> Study:
    """Tests and reports of the runs that are there; nothing is trained or scored, and no data is needed."""
    study = summarize(plan, output)
    study.save(output)
    write_reports(study, output)
    return study


def study_tasks(plan: StudyPlan) -> dict[str, Task]:
    """The tasks of a study. Raises `InputError` if any cannot be had: a long study is not begun with it."""
    from ..evaluation.tasks import make_tasks

    data_dir = Path(plan.data_dir) if plan.data_dir else None
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"the data folder '{plan.data_dir}' does not exist")
    tasks, problems = make_tasks(plan.tasks, data_dir)
    if problems:
        raise InputError(next(iter(problems.values())))
    return tasks


def make_shelf(plan: StudyPlan, output: Path) -> Shelf:
    """The shelf with the study's own runs and its baselines. Raises `InputError` for a baseline that is not there."""
    runs = output / "runs"
    config = plan.shared
    shelf = Shelf(config.device, config.dtype, [plan.backbone], [runs] if runs.is_dir() else [])
    for name in plan.baselines or ():
        try:
            shelf.find(name)
        except InputError:
            if "/" not in name and not Path(name).is_dir():
                raise
            shelf.add_contender(name)
    return shelf


def unevaluated(cell: Cell, output: Path, tasks: Mapping[str, Task], sample: int | None) -> list[str]:
    """Tasks for which a run has no score on the data as it is now."""
    from ..evaluation.store import ResultStore

    found = read_cell(cell, output)
    store = ResultStore(cell.folder(output) / EVALUATION)
    missing = []
    for name, task in tasks.items():
        row = found.rows.get(name)
        stale = row is not None and Path(row.folder).name != store.folder(task, sample).name
        if stale or not found.covers(name):
            missing.append(name)
    return missing


class _Execution:
    """The state of one call of `execute`."""

    def __init__(
        self, plan: StudyPlan, output: Path, tasks: dict[str, Task], cells: Sequence[Cell], cancel: Cancel
    ) -> None:
        self.plan, self.output, self.tasks, self.cancel = plan, output, tasks, cancel
        self.to_train = [c for c in cells if c.seed is not None and finished(c.folder(output)) is None]
        missing = {c: c in self.to_train or bool(unevaluated(c, output, tasks, plan.sample)) for c in cells}
        self.cells = [cell for cell in cells if missing[cell]]
        self.problems: list[str] = []
        self.last = Study.load(output) if (output / STUDY).exists() else None
        self.tested = self.took = 0.0
        """When the tests were made last, and the seconds they took."""
        self.shelf = make_shelf(plan, output)
        if self.to_train:
            check_data(plan, output)
        self.meter = Meter(output, self.cells, self.to_train)

    def go(self) -> None:
        """One run after the other."""
        try:
            for cell in self.cells:
                self._say(f"{cell.title}: {'training' if cell in self.to_train else 'evaluation'}")
                if cell in self.to_train and not self._try(cell, "training", self._train):
                    continue
                self._try(cell, "evaluation", self._evaluate)
                self._tell()
        except Cancelled:
            self.cancel.set()

    def _try(self, cell: Cell, part: str, make: Any) -> bool:
        """A part of a run; what goes wrong is told, and the other runs go on."""
        self._stop_here()
        self.meter.begin(cell, part)
        started = time.monotonic()
        try:
            with self.meter.listening():
                make(cell)
        except InputError as error:
            self.problems.append(f"{cell.title}: {error}")
            self._say(self.problems[-1])
            return False
        finally:
            gc.collect()  # a trained model is a circle of references
        self.meter.end(time.monotonic() - started)
        return True

    def _stop_here(self) -> None:
        if self.cancel.is_set():
            raise Cancelled("stopped between two parts of the study")

    def _train(self, cell: Cell) -> None:
        if train(self.plan.config(cell), cell.folder(self.output), resume=True).stopped:
            raise Cancelled("stopped while training")

    def _evaluate(self, cell: Cell) -> None:
        from ..evaluation.engine import EvaluationConfig, evaluate

        folder = cell.folder(self.output)
        if cell.seed is not None:
            self._see(cell)
        config = EvaluationConfig(
            (cell.variant,),
            self.plan.tasks,
            Path(self.plan.data_dir) if self.plan.data_dir else None,
            self.plan.sample,
            self.plan.instructions,
        )
        try:
            if evaluate(self.shelf, config, folder / EVALUATION, self.cancel).stopped:
                raise Cancelled("stopped while evaluating")
            if self.shelf.find(cell.variant).source != "lexical" and not (folder / LATENCY).exists():
                measure_latency(self.shelf.load(cell.variant), folder / LATENCY)
        finally:
            if cell.variant in self.shelf.loaded:
                self.shelf.unload(cell.variant)

    def _see(self, cell: Cell) -> None:
        """The shelf shows what was just trained; its folder may not have been there before."""
        runs = self.output / "runs"
        if runs not in self.shelf.folders:
            self.shelf.folders.append(runs)
        self.shelf.refresh()
        self.shelf.find(cell.variant)

    def _tell(self, stopped: bool = False) -> Study:
        """study.json of now. Tests take seconds: they are made anew where that is little beside the time since then."""
        study = summarize(self.plan, self.output, self.tasks, self.problems, stopped, compare=False)
        started = time.monotonic()
        if not stopped and started - self.tested >= REST * self.took:
            study = summarize(self.plan, self.output, self.tasks, self.problems)
            self.tested = time.monotonic()
            self.took = self.tested - started
        elif self.last is not None:
            kept = {name: getattr(self.last, name) for name in ("entries", "pairs", "claims", "limits")}
            study = replace(study, **kept)
        study.save(self.output)
        self.last = study
        return study

    def conclude(self) -> Study:
        """Tests and reports; a study that was stopped shows the tests it had."""
        if self.cancel.is_set():
            study = self._tell(stopped=True)
        else:
            study = summarize(self.plan, self.output, self.tasks, self.problems)
            if not study.entries and self.problems:
                raise InputError(self.problems[0])
            study.save(self.output)
        write_reports(study, self.output)
        self.meter.finish(study)
        return study

    def _say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)


def check_data(plan: StudyPlan, output: Path) -> None:
    """Read the training data. Raises `InputError` if it is unusable, or not what finished runs were trained on."""
    config = plan.shared
    from ..training_data import read_pairs

    done = [record for cell in plan.trained if (record := finished_record(cell.folder(output))) is not None]
    sources = [source.to_json() for source in read_pairs(config.data, config.columns, config.negatives).sources]
    for record in done:
        if hashes(record["training"]["data"]) != hashes(sources):
            raise InputError(
                f"the training data changed since the first runs of the study in '{output}'; begin it in another folder"
            )


def measure_latency(encoder: Encoder, file: Path) -> Latency:
    """Milliseconds of one text at a time, median and quartiles of `LATENCY_TEXTS` after warming up."""
    from ..training_report import hardware

    seconds = []
    for i in range(WARM_UP + LATENCY_TEXTS):
        started = time.perf_counter()
        encoder.encode([f"{TEXT} {i}"])
        seconds.append(time.perf_counter() - started)
    low, middle, high = (1000 * q for q in quantiles(seconds[WARM_UP:], n=4))
    backbone = getattr(encoder, "backbone", None)
    where = hardware_words(hardware(backbone.device)) if backbone is not None else ""
    found = Latency(round(middle, 3), round(low, 3), round(high, 3), LATENCY_TEXTS, where)
    seen = {name: getattr(backbone, name, None) for name in ("decoder", "layers", "width")}
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps({**asdict(found), "backbone": seen}, indent=1), encoding="utf-8")
    return found


def estimate(plan: StudyPlan, output: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """How long what is missing will take: measured training steps of every design, measured speed of encoding.

    Nothing is written. Encoding is measured with mean pooling, which costs about what the other poolers do.
    """
    from ..encoder import PooledEncoder
    from ..evaluation.engine import quiet_libraries
    from ..evaluation.estimates import measure_speed, work_of
    from ..training_run import load_backbone

    tasks = study_tasks(plan)
    cells = plan.chosen(only)
    to_train = [c for c in cells if c.seed is not None and finished(c.folder(output)) is None]
    to_score = {c: tasks if c in to_train else {n: tasks[n] for n in unevaluated(c, output, tasks, plan.sample)}
                for c in cells}  # fmt: skip
    shelf = make_shelf(plan, output)
    training: dict[str, dict[str, Any]] = {}
    for cell in to_train:
        if cell.name not in training:
            config = replace(plan.config(cell), estimate_steps=max(1, plan.shared.estimate_steps))
            training[cell.name] = train(config, cell.folder(output), estimate_only=True)
            gc.collect()
    speed = {}
    if any(to_score.values()):
        with quiet_libraries():
            backbone = load_backbone(plan.shared)
            for attention in dict.fromkeys(DESIGNS[c.name].attention for c in cells if c.seed is not None):
                speed[attention] = measure_speed(PooledEncoder.untrained(backbone, DESIGNS[f"mean-{attention}"]))
    default = next(iter(speed.values()), 1.0)

    def scoring(cell: Cell) -> float:
        if cell.seed is None and shelf.find(cell.name).source == "lexical":
            return 0.0
        characters = sum(work_of(task, plan.sample) for task in to_score[cell].values())
        return characters / (speed.get(DESIGNS[cell.name].attention, default) if cell.seed is not None else default)

    seconds = {"training": sum(training[c.name]["seconds"] for c in to_train), "evaluation": sum(map(scoring, cells))}
    return {
        "seconds": round(sum(seconds.values()), 1),
        "training_seconds": round(seconds["training"], 1),
        "evaluation_seconds": round(seconds["evaluation"], 1),
        "runs_to_train": [cell.key for cell in to_train],
        "runs_to_evaluate": [cell.key for cell in cells if to_score[cell]],
        "designs": training,
        "characters_per_second": {name: round(value) for name, value in speed.items()},
        "shared": {k: v for k, v in comparable(plan.shared).items() if k in ("backbone", "max_steps", "batch_size")},
    }
