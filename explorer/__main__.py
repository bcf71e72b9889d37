"""The command line: python -m explorer COMMAND …

Every command takes --json: one JSON document on standard output; logs and progress go to standard error. Bad input ends
with exit code 2 and one line that says what was wrong and what would be right.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .errors import Cancelled, InputError


class Parser(argparse.ArgumentParser):
    """argparse, but bad usage is one line like every other bad input."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message}\n")


def names(text: str) -> list[str]:
    """A comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that loads a model; `app.py` takes the same."""
    from .record import DTYPES

    group = parser.add_argument_group("models")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    group.add_argument("--dtype", default="auto", choices=DTYPES, help="auto: bfloat16 where the hardware has it")
    group.add_argument(
        "--backbone",
        action="append",
        default=[],
        metavar="ID",
        help="put a further backbone on the shelf: a hub id, a folder or a GGUF file",
    )
    group.add_argument("--contender", action="append", default=[], metavar="ID", help="put any embedding model there")
    group.add_argument("--checkpoints", action="append", default=[], metavar="DIR", help="a further folder of variants")
    group.add_argument("--trust-remote-code", action="store_true", help="run code that comes with a hub model (off)")


def make_shelf(options: argparse.Namespace):
    """The shelf that the model options ask for."""
    from .variants import Shelf

    return Shelf(
        options.device,
        options.dtype,
        options.backbone,
        options.checkpoints,
        options.contender,
        options.trust_remote_code,
    )


def build_parser() -> Parser:
    """All commands and their options."""
    parser = Parser(prog="python -m explorer", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    variants = commands.add_parser("variants", help="what is on the shelf")
    search = commands.add_parser("search", help="one query, one ranking a variant")
    search.add_argument(
        "--corpus", default="python-stdlib", help="a built-in corpus, one of yours, or a file or folder"
    )
    search.add_argument("--query", required=True)
    search.add_argument("--variants", type=names, help="comma-separated; default: as the page starts with")
    search.add_argument("--top-k", type=int, default=10)
    search.add_argument(
        "--without-same-text",
        action="store_true",
        help="leave out documents whose text is the query's, whatever their id",
    )

    for command, run in ((variants, run_variants), (search, run_search)):
        add_model_options(command)
        command.add_argument("--json", action="store_true", help="one JSON document on standard output")
        command.set_defaults(run=run)

    runs = commands.add_parser("runs", help="background runs: list, stop, resume or delete them")
    runs.add_argument("action", nargs="?", default="list", choices=("list", "stop", "resume", "delete"))
    runs.add_argument("ids", nargs="*", metavar="ID")
    runs.add_argument("--json", action="store_true", help="one JSON document on standard output")
    runs.set_defaults(run=run_runs)
    add_train(commands)
    add_evaluate(commands)
    add_import(commands)
    add_export(commands)
    add_layers(commands)
    add_lesson(commands)
    add_map(commands)
    add_study(commands)
    return parser


def add_train(commands: Any) -> None:
    """`train`: its options are the fields of the configuration."""
    from .training_config import add_training_options

    train = commands.add_parser("train", help="train a variant: an adapter and a pooler for one design")
    add_training_options(train)
    train.add_argument("--output", required=True, metavar="DIR", help="the folder of the variant; made if missing")
    train.add_argument("--resume", action="store_true", help="go on with the run in --output, if there is one")
    train.add_argument("--estimate-only", action="store_true", help="tell time and memory, and train nothing")
    train.add_argument("--json", action="store_true", help="one JSON document on standard output")
    train.set_defaults(run=run_train)


def run_variants(options: argparse.Namespace) -> dict[str, Any]:
    shelf = make_shelf(options)
    return {"variants": [v.to_json() for v in shelf.variants], "problems": shelf.problems}


def print_variants(result: dict[str, Any]) -> None:
    width = max(len(v["name"]) for v in result["variants"])
    for v in result["variants"]:
        print(f"{v['name']:{width}}  {v['how']}")
    for problem in result["problems"]:
        print(f"skipped {problem}", file=sys.stderr)


def run_search(options: argparse.Namespace) -> dict[str, Any]:
    from .comparison import Comparer
    from .corpora.library import open_anything

    shelf = make_shelf(options)
    comparer = Comparer(shelf)
    wanted = comparer.names(shelf.defaults if options.variants is None else options.variants, options.top_k)
    corpus = open_anything(options.corpus)

    def progress(variant: str, done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r{variant}: {done}/{total} documents encoded", end=end, file=sys.stderr, flush=True)

    found = comparer.compare(
        corpus, options.query, wanted, options.top_k, progress=progress, same_text=options.without_same_text
    )
    return found.to_json()


def print_search(result: dict[str, Any]) -> None:
    for variant, ranking in result["results"].items():
        print(f"\n{variant}")
        for hit in ranking:
            text = " ".join(hit["text"].split())
            print(f"  {hit['rank']:>2}  {hit['score']:.3f}  {text[:100]}")
        if not ranking:
            print("  nothing")  # the notes below say why
    print()
    if "left_out" in result:
        print(f"left out, for it is the query itself: {', '.join(result['left_out'])}")
    for pair in result["agreement"]["pairs"]:
        overlap = f"overlap@{result['agreement']['k']} {pair['overlap']:.2f}"
        print(f"{pair['a']} / {pair['b']}: {overlap}, RBO {pair['rbo']:.2f}")
    for variant, notes in result["notes"].items():
        print(f"{variant}: {' '.join(notes)}")


def run_runs(options: argparse.Namespace) -> dict[str, Any]:
    from .jobs import Runs

    runs = Runs()
    if bool(options.ids) == (options.action == "list"):
        raise InputError("list takes no ids; stop, resume and delete take those of the runs they are for")
    for id in options.ids:
        getattr(runs, options.action)(id)
    return {"runs": [run.to_json() for run in runs.list()]}


def print_runs(result: dict[str, Any]) -> None:
    for run in result["runs"]:
        print(f"{run['id']}  {run['kind']:8}  {run['title']}: {run['sentence']}")


def add_evaluate(commands: Any) -> None:
    """`evaluate`: mteb tasks, built-in ones and one's own, on variants."""
    from .evaluation.commands import add_options

    evaluate = commands.add_parser("evaluate", help="score variants on mteb's tasks, built-in ones, or one's own data")
    add_options(evaluate, names)
    add_model_options(evaluate)
    evaluate.add_argument("--json", action="store_true", help="one JSON document on standard output")
    evaluate.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> dict[str, Any]:
    from .evaluation.commands import run

    return run(options, make_shelf(options))


def add_import(commands: Any) -> None:
    """`import`: the paper's release format."""
    parser = commands.add_parser("import", help="make a variant of the paper's release: LoRA adapter and attn_pool.pt")
    parser.add_argument("--adapter", required=True, metavar="DIR", help="the LoRA adapter's folder")
    parser.add_argument(
        "--pooler", metavar="FILE", help="the pooler's tensors; default: attn_pool.pt in that folder or beside it"
    )
    parser.add_argument("--heads", type=int, default=32, help="attention heads of the pooler (not in its file)")
    parser.add_argument("--backbone", required=True, metavar="ID")
    parser.add_argument("--design", required=True)
    parser.add_argument(
        "--reads",
        choices=("all-tokens", "last-token"),
        help="what a last-layer pooler reads; default: as the release's code, which is the last token in Model 2",
    )
    parser.add_argument("--max-length", type=int, default=512, help="tokens at which texts are cut")
    parser.add_argument(
        "--query-prompt",
        help="put before every query; default: the one of the paper's code, which a task's instruction replaces",
    )
    parser.add_argument("--document-prompt", default="", help="put before every document")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run_import)


def run_import(options: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import replace
    from pathlib import Path

    from .importing import PAPER_TEXTS, import_release

    texts = replace(PAPER_TEXTS, max_length=options.max_length, document_prompt=options.document_prompt)
    if options.query_prompt is not None:
        texts = replace(texts, query_prompt=options.query_prompt)
    pooler = Path(options.pooler) if options.pooler else None
    output, adapter = Path(options.output), Path(options.adapter)
    record = import_release(
        adapter, options.backbone, options.design, output, pooler, options.heads, texts, options.reads
    )
    return {"output": str(output), **record}


def add_export(commands: Any) -> None:
    """`export`: a variant as a SentenceTransformer folder, and on the hub if asked for."""
    parser = commands.add_parser("export", help="a variant as a folder that sentence-transformers loads by itself")
    parser.add_argument("--variant", required=True, metavar="NAME")
    parser.add_argument("--output", required=True, metavar="DIR", help="a folder that does not exist yet")
    parser.add_argument(
        "--weights",
        default="merged",
        choices=("merged", "adapter"),
        help="merged: all weights in the folder (default); adapter: the backbone comes from its own place",
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload it to the hub as well, with your own login")
    parser.add_argument("--public", action="store_true", help="with --push: for everyone to see (default: private)")
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> dict[str, Any]:
    from pathlib import Path

    from .exporting import check_repository, export, push

    if options.push:
        check_repository(options.push)
    folder = export(
        options.variant, Path(options.output), make_shelf(options), options.weights, place=options.push or ""
    )
    found = {"variant": options.variant, "output": str(folder), "weights": options.weights}
    return {**found, "address": push(folder, options.push, not options.public)} if options.push else found


def add_layers(commands: Any) -> None:
    """`layers`: what a variant reads, and whether it matters."""
    from .layers.command import add_options

    parser = commands.add_parser("layers", help="what a variant reads of a text or a corpus, and whether it matters")
    add_options(parser)
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run_layers)


def run_layers(options: argparse.Namespace) -> dict[str, Any]:
    from .layers.command import run

    return run(options, make_shelf(options))


def add_lesson(commands: Any) -> None:
    """`lesson`: what a lesson of the Learn tab reveals."""
    from .lessons.command import add_options

    parser = commands.add_parser("lesson", help="what a lesson of the Learn tab reveals, or tests")
    add_options(parser)
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run_lesson)


def run_lesson(options: argparse.Namespace) -> dict[str, Any]:
    from .lessons.command import run

    return run(options, make_shelf(options))


def add_map(commands: Any) -> None:
    """`map`: how the spaces of variants look."""
    from .projection.command import add_options

    parser = commands.add_parser("map", help="a map of a corpus by each variant, with how far it can be believed")
    add_options(parser, names)
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run_map)


def run_map(options: argparse.Namespace) -> dict[str, Any]:
    from .projection.command import run

    return run(options, make_shelf(options))


def add_study(commands: Any) -> None:
    """`study`: designs x seeds, trained alike, evaluated, tested, reported."""
    from .study.commands import add_options

    parser = commands.add_parser(
        "study", help="the paper's controlled comparison: designs x seeds, tested, with a report"
    )
    add_options(parser, names)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run_study)


def run_study(options: argparse.Namespace) -> dict[str, Any]:
    from .study.commands import run

    return run(options)


def run_train(options: argparse.Namespace) -> dict[str, Any]:
    from pathlib import Path

    from .training import config_for, train
    from .training_config import given_options

    output = Path(options.output)
    config = config_for(output, given_options(options), options.resume)
    result = train(config, output, options.resume, options.estimate_only)
    return result if options.estimate_only else result.to_json()


def shown_by(module: str) -> Callable[[dict[str, Any]], None]:
    """The printer of a command that has a package of its own, which is imported when it is needed."""
    return lambda result: importlib.import_module(module, __package__).show(result)


def print_fields(result: dict[str, Any]) -> None:
    for name, value in result.items():
        print(f"{name}: {value}")


PRINTERS = {
    "variants": print_variants,
    "search": print_search,
    "runs": print_runs,
    "train": print_fields,
    "evaluate": shown_by(".evaluation.commands"),
    "import": print_fields,
    "export": print_fields,
    "layers": shown_by(".layers.command"),
    "lesson": shown_by(".lessons.command"),
    "map": shown_by(".projection.command"),
    "study": shown_by(".study.commands"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    options = build_parser().parse_args(arguments)
    try:
        result = options.run(options)
    except InputError as error:
        print(f"python -m explorer {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        print("stopped", file=sys.stderr)
        return 130
    if os.environ.get("RANK", "0") != "0":
        return 0  # one of several processes of torchrun: the first one tells
    if options.json:
        json.dump(result, sys.stdout, ensure_ascii=False, allow_nan=False)
        print()
    else:
        PRINTERS[options.command](result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
