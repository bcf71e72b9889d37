"""Runs tasks on variants with mteb and keeps what is finished.

    evaluation = evaluate(Shelf(), EvaluationConfig(("minilm-published",), ("STSBenchmark",)), Path("out"))
    evaluation.rows["minilm-published"]["STSBenchmark"].main_score

One task after the other, all variants on each, so that the first comparison is there soon. Vectors are cached text by
text, results by data and weights: started again into the same folder it goes on where it was.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, InputError
from ..progress import report
from ..store import Cancel, whole_file
from ..variants import Shelf
from .estimates import remember_speed, work_of
from .examples import Recorder
from .models import LexicalModel, VariantModel, with_instruction
from .official import DataCheck, check_official
from .own import is_own
from .published import published
from .results import Evaluation, score_interval
from .sampling import subsample
from .store import ResultStore, Row
from .tasks import Task, make_tasks
from .tracker import Tracker
from .vectors import TextVectors

if TYPE_CHECKING:
    from ..encoder import Encoder

log = logging.getLogger(__name__)

INSTRUCTIONS = ("own", "paper", "all")
MODEL_LIMIT = 64


@dataclass(frozen=True)
class EvaluationConfig:
    """What is evaluated. Raises `InputError` for what cannot be."""

    variants: tuple[str, ...]
    tasks: tuple[str, ...]
    """Names as `tasks.make_task` takes them."""
    data_dir: Path | None = None
    """Local data in the layout of the hub's data sets; None: the hub."""
    sample: int | None = None
    """At most so many examples of each task; the scores are then not comparable with published ones."""
    instructions: str = "paper"
    """own: prompts stay as the variant has them; paper: a variant that was trained with an instruction gets that of the
    task, as in the paper; all: every variant does. `prompts.RULE` says all of it."""
    instruct: Mapping[str, str] = field(default_factory=dict)
    """Task name -> another instruction than mteb's, for every variant. Tasks that are not evaluated are refused."""
    table: Mapping[str, str] = field(default_factory=dict)
    """The same from a file, which may name tasks that are not evaluated; `instruct` goes before it."""

    def __post_init__(self) -> None:
        if not self.variants:
            raise InputError("choose at least one variant to evaluate")
        if not self.tasks:
            raise InputError("choose at least one task to evaluate on")
        if len(self.variants) > MODEL_LIMIT:
            raise InputError(f"at most {MODEL_LIMIT} variants are evaluated in one run; got {len(self.variants)}")
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise InputError(f"the data folder '{self.data_dir}' does not exist")
        if self.sample is not None and self.sample < 10:
            raise InputError(f"a sample needs at least 10 examples; got {self.sample}")
        if self.instructions not in INSTRUCTIONS:
            raise InputError(
                f"no instructions '{self.instructions[:60]}'; valid: {', '.join(INSTRUCTIONS)}; on the command line "
                "also none, which is own, and a file that ends in .json"
            )

    def instruction(self, task: Task) -> tuple[str, bool]:
        """Tell which instruction a task has in this run.

        Args:
            task: One of the tasks.

        Returns:
            The instruction, empty for none, and whether every variant gets it.
        """
        for given in (self.instruct, self.table):
            if task.name in given:
                return given[task.name], True
        return ("", False) if self.instructions == "own" else (task.instruction, self.instructions == "all")

    def for_tasks(self, names: Collection[str]) -> EvaluationConfig:
        """The same with no more of the table than these tasks need.

        Args:
            names: Names of the tasks that are evaluated.

        Raises:
            InputError: An instruction is for no such task, or none of the table's is.
        """
        unknown = [name for name in self.instruct if name not in names]
        if self.table and not set(self.table) & set(names):
            unknown.append(next(iter(self.table)))
        if unknown:
            raise InputError(
                f"there is an instruction for '{unknown[0][:60]}', which is no task of: {', '.join(names)}"
            )
        return replace(self, table={name: text for name, text in self.table.items() if name in names})

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it, without where on this machine the data lies."""
        tasks = [f"{task.partition(':')[0]}:{Path(task).name}" if is_own(task) else task for task in self.tasks]
        return {
            **asdict(self),
            "variants": list(self.variants),
            "tasks": tasks,
            "data_dir": self.data_dir.name if self.data_dir else None,
        }


def evaluate(
    shelf: Shelf, config: EvaluationConfig, output: Path, cancel: Cancel | None = None, quiet: bool = False
) -> Evaluation:
    """Every task on every variant. Finished rows below `output` are kept; a task that fails is told, the others go on.

    Progress goes to progress.jsonl (and, unless `quiet`, to standard error), after each row the table so far to
    evaluation.json in `output`. Set `cancel`, or send SIGTERM or SIGINT to the main thread, to stop:
    `Evaluation.stopped` is then true, and what is finished stays. Raises `InputError` if no task can be evaluated.
    """
    names = list(dict.fromkeys(shelf.find(name).name for name in config.variants))
    if output.exists() and not output.is_dir():
        raise InputError(f"'{output}' is a file; --output names a folder")
    tasks, problems = make_tasks(config.tasks, config.data_dir)
    if not tasks:
        raise InputError(next(iter(problems.values())))
    config = config.for_tasks(tasks)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"'{output}' cannot be written: {error.strerror or type(error).__name__}") from error
    cancel = cancel or threading.Event()
    with stopped_by_signals(cancel), quiet_libraries():
        return _Run(shelf, config, output, tasks, names, problems, cancel, quiet).go()


class _Run:
    """The state of one call of `evaluate`."""

    def __init__(
        self,
        shelf: Shelf,
        config: EvaluationConfig,
        output: Path,
        tasks: dict[str, Task],
        names: Sequence[str],
        problems: dict[str, str],
        cancel: Cancel,
        quiet: bool,
    ) -> None:
        self.shelf, self.config, self.output, self.tasks, self.names = shelf, config, output, tasks, names
        self.cancel, self.quiet = cancel, quiet
        self.store = ResultStore(output)
        self.stores: dict[str, TextVectors] = {}
        self.broken: set[str] = set()
        """Tasks whose data cannot be had."""
        self.unusable: set[str] = set()
        """Variants that cannot be loaded."""
        models = [v.backbone for v in map(shelf.find, names) if v.source in ("published", "sentence-transformers")]
        settings = {**config.to_json(), "mteb": importlib.metadata.version("mteb")}
        known = published(tasks.values(), models, config.data_dir)
        self.evaluation = Evaluation(settings, tasks, list(names), output, known)
        self.tracker = Tracker(output, {name: work_of(task, config.sample) for name, task in tasks.items()})
        self.tracker.plan(len(names))
        for name, problem in problems.items():
            self._problem(problem, name)

    def go(self) -> Evaluation:
        try:
            for task in self.tasks.values():
                for name in self.names:
                    if self.cancel.is_set():
                        raise Cancelled("stopped between two tasks")
                    if task.name not in self.broken and name not in self.unusable:
                        self.tracker.start(task.name, name)
                        self._try(task, name)
                    self.tracker.finish()
        except Cancelled:
            self.evaluation.stopped = True
        self.tracker.tell(force=True)
        self._write()
        if not self.evaluation.rows and self.evaluation.problems and not self.evaluation.stopped:
            raise InputError(self.evaluation.problems[0]["problem"])
        return self.evaluation

    def _try(self, task: Task, name: str) -> None:
        """One row; what goes wrong is told, and the others go on."""
        try:
            self._one(task, name)
        except InputError as error:
            whose = "" if task.name in self.broken else name
            self._problem(str(error), "" if name in self.unusable else task.name, whose)
        except Cancelled:
            raise
        except Exception as error:  # one task that breaks must not take the others with it
            log.debug("%s on %s", name, task.name, exc_info=True)
            self._problem(_defect(task, error), task.name, name)

    def _one(self, task: Task, name: str) -> None:
        """One variant on one task, unless it is there already."""
        if self.shelf.find(name).source == "lexical":
            self.tracker.kept()  # it encodes nothing
            if task.symmetric:
                note = f"{name} matches queries with documents and does not apply to {task.type} tasks"
                self.evaluation.not_applicable.setdefault(name, {})[task.name] = note
                return
            model: VariantModel | LexicalModel = LexicalModel(name)
            instruction = ""
        else:
            model, instruction = self._model(task, name)
        row = self.store.find(task, model, self.config.sample)
        if row is None:
            self.store.hide(task, model)
            row = self._compute(task, model, name, instruction)
        else:
            row = replace(row, instruction=instruction)  # the same prompts may come of another setting
            self.tracker.kept()
        self.store.show(task, model, row)
        self.evaluation.add(row, self.store.examples(task, model, self.config.sample))
        self._write()
        self._say(row)

    def _model(self, task: Task, name: str) -> tuple[VariantModel, str]:
        try:
            encoder: Encoder = self.shelf.load(name)
        except InputError:
            self.unusable.add(name)
            raise
        wanted, always = self.config.instruction(task)
        given = with_instruction(encoder, wanted, always, task.type)
        return VariantModel(name, given, self.stores), wanted if given is not encoder else ""

    def _compute(self, task: Task, model: VariantModel | LexicalModel, name: str, instruction: str) -> Row:
        import mteb

        started = time.monotonic()
        try:
            made = task.load()
        except InputError:
            self.broken.add(task.name)
            raise
        official = task.source in ("hub", "local")
        check = check_official(made, task.split, task.subset) if official else DataCheck(DATA[task.source], True)
        sampled = self.config.sample is not None and subsample(made, task.split, task.subset, self.config.sample)
        if isinstance(model, VariantModel):
            model.tracker, model.cancel = self.tracker, self.cancel
            if task.corpus is not None and not sampled:
                model.know(task.corpus())
        recorder = Recorder(made, task.split, task.subset)
        found = mteb.evaluate(
            model,
            made,
            co2_tracker=False,
            cache=None,
            overwrite_strategy="always",
            prediction_folder=recorder.folder,
            show_progress_bar=False,
            encode_kwargs={"batch_size": 256, "show_progress_bar": False},
        )
        result = found.task_results[0]
        scores = result.scores[task.split][0]
        score = scores.get("main_score")
        if score is None or not math.isfinite(score):
            raise InputError(f"{task.name} gives no main score with {name}: its {task.metric} is not a number")
        examples = recorder.examples
        low, high = score_interval(examples, float(score))
        row = Row(
            variant=name,
            task=task.name,
            type=task.type,
            main_score=float(score),
            metric=task.metric,
            split=task.split,
            subset=task.subset,
            n=len(examples) if examples else None,
            low=low,
            high=high,
            comparable=check.comparable and not sampled,
            data=described(task, check, self.config.sample if sampled else None),
            sample=self.config.sample,
            seconds=round(time.monotonic() - started, 2),
            revision=str(model.mteb_model_meta.revision),
            instruction=instruction,
            folder=self.store.folder(task, self.config.sample).relative_to(self.output).as_posix(),
            notes=(*task.notes, *notes_on(model), *(f"{name}: {note}" for note in run_notes(model))),
            prompts=model.prompts(task.symmetric) if isinstance(model, VariantModel) else {},
        )
        self.store.save(task, model, row, result, examples)
        if isinstance(model, VariantModel):
            remember_speed(model.encoder, model.encoded, model.seconds)
        return row

    def _problem(self, sentence: str, task: str, variant: str = "") -> None:
        self.evaluation.problems.append({"task": task, "variant": variant, "problem": sentence})
        report({"task": task, "variant": variant, "problem": sentence}, self.output)
        print(sentence if not task or task in sentence else f"{task}: {sentence}", file=sys.stderr, flush=True)

    def _say(self, row: Row) -> None:
        self.tracker.row(row)
        if not self.quiet:
            within = f" [{row.low:.4f}, {row.high:.4f}]" if row.low is not None else ""
            print(f"{row.task}: {row.variant} {row.main_score:.4f}{within}", file=sys.stderr, flush=True)

    def _write(self) -> None:
        """The table so far."""
        device, dtype = self.shelf.place()
        self.evaluation.settings = {**self.evaluation.settings, "device": device, "dtype": dtype}
        with whole_file(self.output / "evaluation.json") as temporary:
            temporary.write_text(json.dumps(self.evaluation.to_json(compare=False), indent=1), encoding="utf-8")


DATA = {"own": "own data", "built-in": "built-in data"}
FROM = {"hub": ", from the hub", "local": ", from local files"}


def described(task: Task, check: DataCheck, sample: int | None) -> str:
    """Where the data is from, and what follows for the score, in one sentence."""
    said = check.sentence + FROM.get(task.source, "")
    if sample is not None:
        said += f", a sample of {sample} examples"
    return said if check.comparable and sample is None else f"{said}; not comparable with the leaderboard"


def notes_on(model: VariantModel | LexicalModel) -> tuple[str, ...]:
    """Notes on texts of no length, and on queries that found nothing, if there were any."""
    if isinstance(model, LexicalModel):
        said = (
            "no word of {:,} of the queries occurs in the documents: BM25 finds nothing for them, and they count as 0"
        )
        return (said.format(model.nothing),) if model.nothing else ()
    return (f"{model.empty:,} of the texts are empty",) if model.empty else ()


def run_notes(model: VariantModel | LexicalModel) -> list[str]:
    """What a user should know of how the variant ran: kernel and precision."""
    return model.encoder.notes if isinstance(model, VariantModel) else []


def _defect(task: Task, error: Exception) -> str:
    if isinstance(error, KeyError) and error.args == (task.metric,):
        return f"{task.name} gives no main score: mteb computes no '{task.metric}' for it"
    first = " ".join(str(error).split())[:200]
    return f"{task.name} could not be evaluated ({type(error).__name__}{f': {first}' if first else ''})"


@contextmanager
def stopped_by_signals(cancel: Cancel) -> Iterator[None]:
    """SIGTERM and SIGINT set `cancel` while this lasts; a second SIGINT ends at once. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _frame: Any) -> None:
        if number == signal.SIGINT and cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """mteb and datasets warn about what we know (names, versions, progress); our own sentences say what matters."""
    import datasets

    datasets.disable_progress_bars()
    loud = {name: logging.getLogger(name).level for name in ("mteb", "datasets", "huggingface_hub", "sklearn")}
    for name in loud:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for name, level in loud.items():
                logging.getLogger(name).setLevel(level)
