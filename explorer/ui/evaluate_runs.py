"""What the Evaluate tab shows of its background runs, and what it does with them: plain functions, no page needed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ..corpora import Corpus, Document
from ..errors import InputError
from ..evaluation.exports import export
from ..evaluation.results import Evaluation
from ..evaluation.tasks import Task, make_task
from ..run import Run, option
from ..store import data_dir
from . import download_buttons, html, html_evaluate
from . import texts_evaluate as texts
from .html import note, problem
from .parts import run_buttons
from .services import MAX_ACTIVE, Services
from .sidebar import named

OUTPUT = "evaluations"
"""Where the page's evaluations put their results, below the user's data directory."""

KEPT = 6
"""Evaluations held in memory."""

PATIENCE = 5.0
"""While a run goes on, its table is read anew after that many times what reading it took."""


class Drawn(NamedTuple):
    """What the page shows: which run, the results of when, and which worst examples."""

    id: str = ""
    stamp: int = 0
    worst: tuple[str, str] = ("", "")


class Results:
    """Evaluations by folder, read anew when they changed: the tests over all pairs take seconds. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Path, tuple[int, Evaluation, float, float]] = {}

    def get(self, run: Run) -> tuple[int, Evaluation | None]:
        """When its results were written, and the results; (0, None) if it has none yet. Raises `InputError`."""
        file = (run.output or run.folder) / "evaluation.json"
        if not file.exists():
            return 0, None
        with self._lock:
            stamp = file.stat().st_mtime_ns
            kept = self._kept.get(file)
            if kept and (kept[0] == stamp or (run.is_active and time.monotonic() - kept[3] < PATIENCE * kept[2])):
                return kept[0], kept[1]
            began = time.monotonic()
            found = Evaluation.load(file.parent)
            found.table()  # which makes the tests
            now = time.monotonic()
            self._kept[file] = (stamp, found, now - began, now)
            while len(self._kept) > KEPT:
                self._kept.pop(next(iter(self._kept)))
            return stamp, found


def runs_of(services: Services) -> list[Run]:
    """All evaluations, newest first."""
    return [run for run in services.runs.list() if run.kind == "evaluate"]


def listed(runs: list[Run]) -> list[tuple[str, str]]:
    """Runs as choices of a list: (title, when and state, id)."""
    when = [time.strftime("%d %b %H:%M", time.localtime(run.created)) for run in runs]
    return [(f"{run.title} · {at} · {run.state}", run.id) for run, at in zip(runs, when, strict=True)]


def new_output() -> Path:
    """A folder of its own for a run's results."""
    base = folder = data_dir(OUTPUT) / time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def show_run(
    services: Services, results: Results, chosen: str | None, drawn: Drawn, task: str | None, variant: str | None
) -> list[Any]:
    """Updates of (run chosen, state, stop, resume, delete, log, table, more, tests, task, variant, worst examples,
    drawn); `more` is what stands below the table.

    What is on the page already is left as it is, so that nothing that was opened there closes.
    """
    runs = runs_of(services)
    run = next((r for r in runs if r.id == chosen), runs[0] if runs else None)
    if run is None:
        off, none = gr.Button(interactive=False), gr.Dropdown(choices=[], value=None)
        return [
            none,
            note(texts.NO_RUNS),
            off,
            off,
            off,
            html.log(""),
            "",
            gr.Column(visible=False),
            "",
            none,
            none,
            "",
            Drawn(),
        ]
    listing = gr.Dropdown(choices=listed(runs), value=run.id)
    try:
        stamp, evaluation = results.get(run)
    except InputError as error:
        return [
            listing,
            problem(error),
            *run_buttons(run),
            html.log(services.runs.log(run.id)),
            *[gr.skip()] * 6,
            drawn,
        ]
    card = html_evaluate.run_card(run, services.runs.progress(run.id))
    state = [card, *run_buttons(run), html.log(services.runs.log(run.id))]
    fresh = (run.id, stamp) != (drawn.id, drawn.stamp)
    shown: list[Any] = [gr.skip()] * 5
    if fresh and evaluation is None:
        shown = [note(texts.NO_ROWS), gr.Column(visible=False), "", *[gr.Dropdown(choices=[], value=None)] * 2]
    elif fresh and evaluation is not None:
        task = task if task in evaluation.tasks else first_with_examples(evaluation)
        variant = variant if variant in evaluation.rows else next(iter(evaluation.rows), None)
        shown = [
            html_evaluate.table(evaluation.table()), gr.Column(visible=bool(evaluation.rows)),
            html_evaluate.tests(evaluation),
            gr.Dropdown(choices=list(evaluation.tasks), value=task),
            gr.Dropdown(choices=named(list(evaluation.rows)), value=variant),
        ]  # fmt: skip
    asked = (task or "", variant or "")
    worst: Any = gr.skip()
    if fresh or asked != drawn.worst:
        worst = worst_of(evaluation, task, variant) if evaluation else ""
    return [listing, *state, *shown, worst, Drawn(run.id, stamp, asked)]


def first_with_examples(evaluation: Evaluation) -> str | None:
    """The first task that can show single examples, retrieval before others."""
    has = [task for task in evaluation.tasks if task in evaluation.examples]
    ranked = sorted(has, key=lambda task: evaluation.tasks[task].symmetric)
    return next(iter([*ranked, *evaluation.tasks]), None)


def worst_of(evaluation: Evaluation, task: str | None, variant: str | None) -> str:
    """The worst examples of a task and a variant."""
    if not task or not variant or task not in evaluation.tasks:
        return ""
    rows = evaluation.worst(variant, task)
    return html_evaluate.worst(rows, evaluation.tasks[task], variant, task in evaluation.examples)


def run_action(services: Services, action: str, chosen: str | None) -> str:
    """Stop, resume or delete the chosen run; what was said."""
    try:
        if not chosen:
            raise InputError("choose a run first")
        run = services.runs.get(chosen)
        if action == "delete":
            services.runs.delete(chosen)
            ours = data_dir(OUTPUT).resolve()
            if run.output and run.output.resolve().parent == ours:
                shutil.rmtree(run.output, ignore_errors=True)
                return note("The run and its results were deleted.")
            return note("The run was deleted. Its results lie outside the page’s own folder and stay.")
        run = services.runs.stop(chosen) if action == "stop" else services.runs.resume(chosen)
        return note(run.sentence)
    except InputError as error:
        return problem(error)


def evaluation_of(services: Services, results: Results, chosen: str | None) -> tuple[Run, Evaluation]:
    """A run and its results. Raises `InputError` if there are none."""
    if not chosen:
        raise InputError("choose a run first")
    run = services.runs.get(chosen)
    evaluation = results.get(run)[1]
    if evaluation is None or not evaluation.rows:
        raise InputError(f"“{run.title}” has no results yet: {run.sentence}")
    return run, evaluation


def download(services: Services, results: Results, kind: str) -> Callable[[str | None], str]:
    """Makes the file of the chosen run's table."""

    def make(chosen: str | None) -> str:
        evaluation = evaluation_of(services, results, chosen)[1]
        return download_buttons.file(f"evaluation.{kind}", export(evaluation.table(), kind))

    return make


# ---- a query of a task, opened in Compare --------------------------------------------------------------------------


class Opened(NamedTuple):
    """What Compare is to show."""

    variants: list[str]
    corpus: str
    query: str


def asked_query(
    services: Services, results: Results, chosen: str | None, task: str | None, data: Mapping[str, Any]
) -> Opened:
    """The query that was clicked, with the run's variants and the task's corpus. What the page sent is checked.

    Documents that are not in the library (a task's own) are put there. Raises `InputError`.
    """
    run, evaluation = evaluation_of(services, results, chosen)
    found, query = evaluation.tasks.get(task or ""), data.get("query")
    if found is None or found.symmetric or not isinstance(query, str) or not query.strip():
        raise InputError("that click named no query of a retrieval task")
    known = {v.name for v in services.shelf.variants}
    variants = [name for name in evaluation.rows if name in known][:MAX_ACTIVE]
    if not variants:
        raise InputError("none of the evaluated variants is on the shelf any more")
    corpus = found.corpus_name
    if corpus not in services.library.names:
        corpus = services.library.add(corpus_of(run, found))
    return Opened(variants, corpus, query[:2000])


def corpus_of(run: Run, task: Task) -> Corpus:
    """Documents, queries and judgments of a run's retrieval task, read again. Raises `InputError`."""
    folder = option(run.arguments, "--data-dir")
    asked = [name for name in (option(run.arguments, "--tasks") or "").split(",") if name]
    own = [value for flag, value in zip(run.arguments, run.arguments[1:], strict=False) if flag == "--task"]
    for name in [n for n in asked if n.partition("@")[0].strip() == task.name] or own:
        made = make_task(name, Path(run.cwd, folder) if folder else None)
        if made.name != task.name:
            continue
        if made.corpus is not None:
            return made.corpus()
        loaded: Any = made.load()
        return _from_mteb(task.name, loaded.dataset.get(task.subset, loaded.dataset)[task.split])
    raise InputError(f"the documents of {task.name} are not at hand any more")


def _from_mteb(name: str, data: Mapping[str, Any]) -> Corpus:
    """A corpus of a loaded retrieval task of mteb."""
    rows = data["corpus"]
    titles = rows["title"] if "title" in rows.column_names else [""] * len(rows)
    documents = tuple(
        Document(id=str(id), text=str(text), title=str(title or ""))
        for id, text, title in zip(rows["id"], rows["text"], titles, strict=True)
        if str(text).strip() or str(title or "").strip()
    )
    there = {document.id for document in documents}
    judged = {q: {d: int(g) for d, g in of.items() if d in there} for q, of in data["relevant_docs"].items()}
    queries = {str(q): str(text) for q, text in zip(data["queries"]["id"], data["queries"]["text"], strict=True)}
    queries = {q: text for q, text in queries.items() if text.strip()}
    return Corpus(name, documents, queries, {q: of for q, of in judged.items() if q in queries})
