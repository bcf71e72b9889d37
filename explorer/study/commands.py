"""What `python -m explorer study` does with its options, and how it shows the result."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..designs import STUDY_DESIGNS
from ..errors import InputError
from ..training_config import add_training_options, given_options
from .plan import OF_A_RUN, Asked, StudyPlan, plan_for


def add_options(parser: argparse.ArgumentParser, names: Callable[[str], list[str]]) -> None:
    """Options of `study`; `names` reads a comma-separated list."""
    group = parser.add_argument_group("study")
    group.add_argument("--designs", type=names, metavar="A,B,…", help=f"all (default) means {', '.join(STUDY_DESIGNS)}")
    group.add_argument(
        "--seeds", type=names, metavar="0,1,2", help="one training of each design a seed (default: 0,1,2)"
    )
    group.add_argument(
        "--tasks", type=names, help="comma-separated, as evaluate takes them; default: the built-in ones"
    )
    group.add_argument("--task", action="append", default=[], metavar="TASK", help="one more, commas and all")
    group.add_argument(
        "--baselines", type=names, help="variants beside the designs (default: untrained backbone, bm25)"
    )
    group.add_argument("--data-dir", metavar="DIR", help="local data of tasks in the layout of the hub's data sets")
    group.add_argument("--sample", type=int, metavar="N", help="at most N examples a task; not comparable then")
    group.add_argument("--instructions", choices=("own", "paper", "all"), help="as evaluate has it (default: paper)")
    group.add_argument("--question", help="what the study is to answer, for the report")
    group.add_argument("--output", required=True, metavar="DIR", help="the study; what is finished there is kept")
    group.add_argument(
        "--only", type=names, default=[], metavar="DESIGN:SEED,…", help="make these runs alone: one machine's share"
    )
    group.add_argument(
        "--collect", nargs="+", default=[], metavar="DIR", help="first take in runs that were made elsewhere"
    )
    group.add_argument("--estimate-only", action="store_true", help="tell how long it will take, and make nothing")
    group.add_argument("--report-only", action="store_true", help="tests and report of what is there; make nothing")
    group.add_argument("--resume", action="store_true", help="go on in --output; finished runs are kept in any case")
    add_training_options(parser, without=OF_A_RUN)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The document of `study --json`."""
    output = Path(options.output)
    if options.report_only and options.estimate_only:
        raise InputError("--report-only and --estimate-only do not go together; give one of them")
    if options.report_only and StudyPlan.load(output) is None:
        raise InputError(f"the folder '{output}' holds no study to report on")
    plan = plan_for(output, asked(options))
    from .execute import estimate, execute, report_only

    if options.estimate_only:
        return estimate(plan, output, options.only)
    if options.collect:
        from .collect import collect

        taken = collect(plan, output, [Path(folder) for folder in options.collect])
        plan.save(output)
        _say(f"taken in: {', '.join(cell.title for cell in taken) or 'nothing new'}")
    study = report_only(plan, output) if options.report_only else execute(plan, output, options.only)
    return {"output": str(output), "report": str(output / "report.html"), **study.to_json()}


def asked(options: argparse.Namespace) -> Asked:
    """What the options give. Raises `InputError`."""
    tasks = [*(options.tasks or []), *options.task]
    return Asked(
        training=given_options(options),
        designs=None if options.designs is None else designs(options.designs),
        seeds=None if options.seeds is None else seeds_of(",".join(options.seeds)),
        tasks=tuple(tasks) or None,
        baselines=None if options.baselines is None else tuple(options.baselines),
        data_dir=options.data_dir,
        sample=options.sample,
        instructions=options.instructions,
        question=options.question,
    )


def designs(given: list[str]) -> tuple[str, ...]:
    """Names of designs; "all" stands for the paper's five and the two mean baselines."""
    return tuple(one for name in given for one in (STUDY_DESIGNS if name == "all" else (name,)))


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds as they are typed, "0, 1, 2". Raises `InputError`."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not name.isascii() or not name.isdigit():
            raise InputError(f"seed '{name[:40]}' is not a whole number of at least 0")
    return tuple(map(int, names))


def _say(sentence: str) -> None:
    import sys

    print(sentence, file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """For people, on standard output."""
    if "runs_to_train" in result:
        from ..run import duration

        print(f"about {duration(result['seconds'])}: training {duration(result['training_seconds'])}, "
              f"encoding {duration(result['evaluation_seconds'])}; scoring comes on top")  # fmt: skip
        for name, found in result["designs"].items():
            print(f"  {name}: {found['seconds_per_step']} s a step, {found['parameters']:,} parameters")
        print(f"to train: {', '.join(result['runs_to_train']) or 'nothing'}")
        print(f"to evaluate: {', '.join(result['runs_to_evaluate']) or 'nothing'}")
        return
    from . import words
    from .results import Study

    study = Study.from_json(result)
    for sentence in words.headline(study):
        print(sentence)
    for verdict, claim in words.verdicts(study):
        print(f"{claim}: {verdict}")
    for problem in study.problems:
        print(f"problem: {problem}")
    print(f"report: {result['report']}")
