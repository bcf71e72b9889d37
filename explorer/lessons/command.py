"""`lesson` on the command line: what a lesson reveals, and with --claim the test of the claim that ends it."""

from __future__ import annotations

import argparse
import sys
import threading
from dataclasses import asdict
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `lesson`."""
    parser.add_argument("id", nargs="?", help="which lesson; none: the list of them")
    parser.add_argument("--claim", action="store_true", help="test the claim of the paper that ends the lesson")
    parser.add_argument("--corpus", help="where the claim is tested: everyday (default), or any with judged queries")


def run(options: argparse.Namespace, shelf: Any) -> dict[str, Any]:
    """The document that --json prints. Raises `InputError`."""
    from .course import LESSONS, lesson
    from .lesson import CORPUS

    if options.id is None:
        return {"lessons": [{"id": one.id, "title": one.title, "claim": one.claim} for one in LESSONS]}
    one = lesson(options.id)
    from ..comparison import Comparer
    from ..corpora.library import open_anything
    from ..layers.lab import LayerLab
    from .bench import Bench

    comparer = Comparer(shelf)
    corpus = open_anything(options.corpus if options.claim and options.corpus else CORPUS)
    bench = Bench(comparer, LayerLab(comparer), corpus, _say, threading.Event())
    found = one.reproduce(bench, one.claim) if options.claim else one.measure(bench)
    told = {"lesson": one.id, "title": one.title, "corpus": corpus.name, **asdict(found)}
    if options.claim:
        return {**told, "claim": one.claim}
    answer = None if found.answer is None else one.options[found.answer]
    return {**told, "question": one.question, "options": list(one.options), "answer": answer}


def _say(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done:,} of {total:,}", file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """For people, on standard output."""
    if "lessons" in result:
        for one in result["lessons"]:
            print(f"{one['id']:14}{one['title']}")
        return
    for line in (result["title"], result.get("question"), result.get("answer"), result["verdict"], result["sentence"]):
        if line:
            print(line)
    rows = [result["heads"], *result["rows"]] if result["rows"] else []
    widths = [max(len(row[i]) for row in rows) for i in range(len(result["heads"]))] if rows else []
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
