"""What `python -m explorer evaluate` does with its options, and how it shows the result."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..instructions import read_instructions
from ..options import without_folders
from ..store import whole_file
from ..variants import Shelf, Variant

if TYPE_CHECKING:
    from .engine import EvaluationConfig


def add_options(parser: argparse.ArgumentParser, names: Any) -> None:
    """Options of `evaluate`; `names` reads a comma-separated list."""
    parser.add_argument("--variants", type=names, help="comma-separated; default: as the page starts with")
    parser.add_argument(
        "--tasks", type=names, help="comma-separated: NAME, NAME@SPLIT/SUBSET, or KIND:PATH; default: the built-in ones"
    )
    parser.add_argument("--task", action="append", default=[], metavar="TASK", help="one more, commas and all")
    parser.add_argument("--data-dir", metavar="DIR", help="local data in the layout of the hub's data sets")
    parser.add_argument("--output", metavar="DIR", help="where results go; what is finished there is kept")
    parser.add_argument("--sample", type=int, metavar="N", help="at most N examples a task; not comparable then")
    parser.add_argument(
        "--instructions",
        default="paper",
        metavar="{paper,all,own,none,FILE.json}",
        help="paper: variants trained with an instruction get the task's (default); all: every variant; own or none: "
        'prompts stay as a variant has them; a file {"TASK": "instruction"}: these instead, for every variant',
    )
    parser.add_argument(
        "--instruct", action="append", default=[], metavar="TASK=TEXT", help="another instruction for a task"
    )
    parser.add_argument(
        "--export", action="append", default=[], metavar="FILE", help="the table: .csv, .json, .tex, .md"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the scores into variant.json and model card of trained variants"
    )
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="show the N worst examples of each row")
    parser.add_argument("--resume", action="store_true", help="go on in --output; finished tasks are kept in any case")
    parser.add_argument("--list-tasks", action="store_true", help="list tasks instead: type, language, size")
    parser.add_argument("--type", default="", help="with --list-tasks: of this type")
    parser.add_argument("--language", default="", help="with --list-tasks: in this language (eng, deu …)")
    parser.add_argument(
        "--show-prompts", action="store_true", help="tell what stands before the texts, and evaluate nothing"
    )
    parser.add_argument("--estimate-only", action="store_true", help="tell how long it will take, and evaluate nothing")


def run(options: argparse.Namespace, shelf: Shelf) -> dict[str, Any]:
    """The document of `evaluate --json`."""
    if options.list_tasks:
        return list_tasks(options, shelf)
    from .builtin import BUILT_IN
    from .engine import EvaluationConfig, evaluate
    from .exports import EXPORTS, export

    for file in options.export:
        if Path(file).suffix.lstrip(".") not in EXPORTS:
            raise InputError(f"'{file[:80]}' cannot be written; give a file that ends in .{', .'.join(EXPORTS)}")
    tasks = [*(options.tasks or []), *options.task]
    if options.tasks is None and not options.task:
        tasks = list(BUILT_IN)
    config = EvaluationConfig(
        variants=tuple(shelf.defaults if options.variants is None else options.variants),
        tasks=tuple(tasks),
        data_dir=Path(options.data_dir) if options.data_dir else None,
        sample=options.sample,
        **instructions_of(options.instructions),
        instruct=pairs(options.instruct),
    )
    if options.show_prompts:
        return show_prompts(shelf, config)
    if options.estimate_only:
        return estimate(shelf, config)
    if not options.output:
        raise InputError("--output names the folder for the results; give one")
    evaluation = evaluate(shelf, config, Path(options.output))
    for file in options.export:
        with whole_file(Path(file)) as temporary:
            temporary.write_text(export(evaluation.table(), Path(file).suffix.lstrip(".")), encoding="utf-8")
    document = evaluation.to_json()
    if options.record:
        from .recorded import record_scores

        document["recorded"] = record_scores(shelf, evaluation, command_of(options, evaluation))
    if options.worst:
        document["worst"] = {
            variant: {task: evaluation.worst(variant, task, options.worst) for task in rows}
            for variant, rows in evaluation.rows.items()
        }
    if not options.json:
        from .exports import to_markdown

        document["markdown"] = to_markdown(evaluation.table())
    return document


def command_of(options: argparse.Namespace, evaluation: Any) -> str:
    """The command that makes these scores again, without folders of this machine."""
    parts = ["python", "-m", "explorer", "evaluate", "--variants", ",".join(evaluation.variants)]
    tasks = [*(options.tasks or []), *options.task]
    if tasks:
        parts += ["--tasks", ",".join(_without_folders(task) for task in tasks)]
    if options.data_dir:
        parts += ["--data-dir", Path(options.data_dir).name]
    if options.instructions != "paper":
        parts += ["--instructions", without_folders(options.instructions)]
    for given in options.instruct:
        parts += ["--instruct", given]
    parts += ["--dtype", evaluation.settings.get("dtype", "auto")]
    return shlex.join([*parts, "--output", "DIR", "--record"])


def _without_folders(task: str) -> str:
    """KIND:PATH with the last part of the path alone; other names as they are."""
    kind, colon, path = task.partition(":")
    return f"{kind}:{Path(path).name}" if colon else Path(task).name if "/" in task.partition("@")[0] else task


def list_tasks(options: argparse.Namespace, shelf: Shelf) -> dict[str, Any]:
    """Tasks to choose from; with --variants the seconds of encoding with all of these."""
    from .catalogue import QUICK, built_in_tasks, official_tasks, quick_menu
    from .estimates import seconds_of

    data_dir = Path(options.data_dir) if options.data_dir else None
    built_in = [] if options.type or options.language else built_in_tasks()
    tasks = [*built_in, *official_tasks(options.type, options.language, data_dir)]
    seconds = seconds_of(tasks, speeds_of(shelf, options.variants), options.sample) if options.variants else {}
    more = {task.name: {"seconds": round(seconds[task.name], 1)} if seconds else {} for task in tasks}
    return {
        "tasks": [{**task.to_json(), **more[task.name]} for task in tasks],
        "quick": {kind: list(of) for kind, of in QUICK.items()},
        "preselected": quick_menu(data_dir),
    }


def estimate(shelf: Shelf, config: Any) -> dict[str, Any]:
    """How long encoding would take, by speeds measured here."""
    from .estimates import seconds_of
    from .tasks import make_tasks

    tasks, problems = make_tasks(config.tasks, config.data_dir)
    if not tasks:
        raise InputError(next(iter(problems.values())))
    speeds = speeds_of(shelf, config.variants)
    seconds = seconds_of(list(tasks.values()), speeds, config.sample)
    return {
        "seconds": round(sum(seconds.values()), 1),
        "tasks": {name: {**tasks[name].to_json(), "seconds": round(s, 1)} for name, s in seconds.items()},
        "characters_per_second": {name: round(speed) for name, speed in speeds.items()},
        "problems": problems,
    }


def speeds_of(shelf: Shelf, variants: Sequence[str]) -> dict[str, float]:
    """Characters a second of each variant on this machine; BM25 encodes nothing."""
    from .estimates import measure_speed

    dense = [shelf.find(name).name for name in variants if shelf.find(name).source != "lexical"]
    return {name: measure_speed(shelf.load(name)) for name in dense}


def instructions_of(given: str) -> dict[str, Any]:
    """Read --instructions: fields of the configuration. Raises `InputError` for a file that is none."""
    if given.lower().endswith(".json"):
        return {"instructions": "paper", "table": read_instructions(given)}
    return {"instructions": "own" if given == "none" else given}


def show_prompts(shelf: Shelf, config: EvaluationConfig) -> dict[str, Any]:
    """Tell which prompts a run would use, without loading the weights of a variant.

    Args:
        shelf: Where the variants are.
        config: The run.

    Returns:
        {"rule": sentences, "prompts": {variant: {task: {"type", "instruction", "query", "document" or "text"}}},
        "problems": {task: why it cannot be had}}. Variants without prompts, as BM25, have an empty object.

    Raises:
        InputError: No task can be had, or a variant is unknown.
    """
    from .prompts import RULE, prompted, shown
    from .tasks import make_tasks

    tasks, problems = make_tasks(config.tasks, config.data_dir)
    if not tasks:
        raise InputError(next(iter(problems.values())))
    config = config.for_tasks(tasks)
    found: dict[str, dict[str, Any]] = {}
    for variant in {one.name: one for one in map(shelf.find, config.variants)}.values():
        rows = found.setdefault(variant.name, {})
        for task in tasks.values() if variant.source != "lexical" else ():
            wanted, always = config.instruction(task)
            own = _texts_of(variant)
            if own is None:
                given, used = _their_prompts(shelf, variant, task.symmetric), ""
            else:
                texts = prompted(own, wanted, task.type, always)
                given, used = shown(texts, task.symmetric), wanted if texts is not own else ""
            rows[task.name] = {"type": task.type, "instruction": used, **given}
    return {"rule": list(RULE), "prompts": found, "problems": problems}


def _texts_of(variant: Variant) -> Any:
    """The text settings of a variant of a backbone, from its record; None for other models."""
    from ..encoder import TextSettings, from_record

    if variant.source == "sentence-transformers":
        return None
    return from_record(TextSettings, variant.record.get("texts") or {}, variant.name)


def _their_prompts(shelf: Shelf, variant: Variant, symmetric: bool) -> dict[str, str]:
    """The prompts of a sentence-transformers model, which it tells when it is loaded."""
    from .models import VariantModel

    return VariantModel(variant.name, shelf.load(variant.name)).prompts(symmetric)


def pairs(given: Sequence[str]) -> dict[str, str]:
    """TASK=TEXT as a dictionary."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--instruct takes TASK=TEXT, not '{text[:60]}'")
        found[name.strip()] = value.strip()
    return found


def show(result: dict[str, Any]) -> None:
    """For people, on standard output."""
    if "prompts" in result:
        _show_prompts(result)
        return
    if "scores" not in result:
        _show_tasks(result)
        return
    print(result["markdown"])
    for test in result["comparisons"]:
        print(f"{test['task'] or 'all tasks'}: {test['sentence']}")
    for variant, tasks in result.get("worst", {}).items():
        for task, rows in tasks.items():
            for row in rows:
                print(f"worst of {variant} on {task}: {row['id']}  {' | '.join(row['text'].splitlines())[:120]}")


def _show_prompts(result: dict[str, Any]) -> None:
    for variant, tasks in result["prompts"].items():
        print(variant if tasks else f"{variant}: no prompts")
        for name, row in tasks.items():
            given = ", ".join(f"{part} {row[part]!r}" for part in ("query", "document", "text") if part in row)
            print(f"  {name} ({row['type']}): {given}")
    print()
    for sentence in result["rule"]:
        print(sentence)
    for problem in result["problems"].values():
        print(f"problem: {problem}")


def _show_tasks(result: dict[str, Any]) -> None:
    tasks = result["tasks"].values() if isinstance(result["tasks"], dict) else result["tasks"]
    width = max((len(task["name"]) for task in tasks), default=0)
    for task in tasks:
        size = "" if task["characters"] is None else f"{task['characters']:,} characters"
        time = f", {task['seconds']:,.0f} s" if "seconds" in task else ""
        where = task["split"] if task["subset"] == "default" else f"{task['split']}/{task['subset']}"
        languages = ",".join(task["languages"][:3]) + ("…" if len(task["languages"]) > 3 else "")
        print(f"{task['name']:{width}}  {task['type']:14}  {languages:12}  {where:16}  {size}{time}")
    if "seconds" in result:
        print(f"about {result['seconds']:,.0f} s of encoding; scoring comes on top")
