"""The corpora that need no download: what is in them, and that their hand-written judgments hold."""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.corpora import BUILT_IN, Corpus
from explorer.corpora.judged_queries import read_queries
from explorer.corpora.python_stdlib import MAX_CHARACTERS, MIN_CHARACTERS, clean

ROOT = Path(__file__).parents[2]
NAMES = ["python-stdlib", "mteb-tasks"]
QUERIES = {"python-stdlib": "python_stdlib_queries.jsonl", "mteb-tasks": "mteb_tasks_queries.jsonl"}


@pytest.fixture(scope="module")
def corpora() -> dict[str, Corpus]:
    return {name: BUILT_IN[name]() for name in NAMES}


@pytest.fixture(scope="module")
def stdlib(corpora: dict[str, Corpus]) -> Corpus:
    return corpora["python-stdlib"]


@pytest.fixture(scope="module")
def tasks(corpora: dict[str, Corpus]) -> Corpus:
    return corpora["mteb-tasks"]


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def lines_of(name: str) -> list[dict]:
    text = (files("explorer.corpora") / QUERIES[name]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# ---- both corpora


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_sorted_and_passages_distinct(corpora: dict[str, Corpus], name: str) -> None:
    ids = [d.id for d in corpora[name].documents]
    assert ids == sorted(ids)
    assert len(set(corpora[name].passages)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_every_document_has_title_text_and_label(corpora: dict[str, Corpus], name: str) -> None:
    assert corpora[name].name == name
    assert all(d.title == d.id and d.label and d.text == d.text.strip() != "" for d in corpora[name].documents)


@pytest.mark.parametrize("name", NAMES)
def test_all_judgments_hold_on_this_installation(corpora: dict[str, Corpus], name: str) -> None:
    lines = lines_of(name)
    assert corpora[name].notes == ()
    assert corpora[name].queries == {line["id"]: line["query"] for line in lines}
    assert corpora[name].qrels == {line["id"]: line["relevant"] for line in lines}


@pytest.mark.parametrize("name", NAMES)
def test_queries_are_distinct_and_graded(name: str) -> None:
    lines = lines_of(name)
    assert max(Counter(line["id"] for line in lines).values()) == 1
    assert max(Counter(line["query"].lower() for line in lines).values()) == 1
    for line in lines:
        assert set(line["relevant"].values()) <= {1, 2}, line
        assert 2 in line["relevant"].values(), line


@pytest.mark.parametrize("name", NAMES)
def test_no_query_gives_its_answer_away(name: str) -> None:
    for line in lines_of(name):
        for answer, grade in line["relevant"].items():
            if grade == 2 or "." in answer:  # a query about JSON may say so: the module json is only a partial answer
                assert not re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", line["query"], re.IGNORECASE), line


# ---- python-stdlib


def test_stdlib_size(stdlib: Corpus) -> None:
    assert 2_000 <= len(stdlib) <= 4_000
    assert len(stdlib.queries) >= 110
    assert all(MIN_CHARACTERS <= len(d.text) <= MAX_CHARACTERS for d in stdlib.documents)


@pytest.mark.parametrize(
    ("id", "label", "start"),
    [
        ("shutil.rmtree", "shutil", "Recursively delete a directory tree"),
        ("pathlib.Path.rmdir", "pathlib", "Remove this directory"),
        ("os.path.join", "os", "Join two or more pathname components"),
        ("random.shuffle", "random", "Shuffle list x in place"),  # a method of a hidden instance
        ("unittest.TestCase.setUp", "unittest", "Hook method for setting up"),  # from unittest.case
        ("concurrent.futures.as_completed", "concurrent", "An iterator over the given futures"),  # from _base
        ("collections.abc.Mapping", "collections", "A Mapping is a generic container"),  # from _collections_abc
        ("decimal.Decimal.quantize", "decimal", "Quantize self so its exponent"),  # from _pydecimal
        ("datetime.date.isoweekday", "datetime", "Return day of the week"),
        ("multiprocessing.Pool", "multiprocessing", "Returns a process pool object"),
        ("str.join", "builtins", "Concatenate any number of strings"),  # written in C, as are the following
        ("sorted", "builtins", "Return a new list containing all items"),
        ("math.gcd", "math", "Greatest Common Divisor"),
        ("socket.socket.sendall", "socket", "sendall(data"),
        ("json", "json", "JSON (JavaScript Object Notation)"),  # a module
    ],
)
def test_stdlib_has_what_programmers_know(stdlib: Corpus, id: str, label: str, start: str) -> None:
    document = stdlib.document(id)
    assert document.label == label
    assert document.text.startswith(start)


def test_stdlib_names_are_public(stdlib: Corpus) -> None:
    assert [d.id for d in stdlib.documents if re.search(r"(^|\.)_(?!_future__)", d.id)] == []
    assert {"test", "idlelib", "turtle", "site-packages", "encodings"}.isdisjoint(stdlib.labels)
    assert set(stdlib.labels) <= {*sys.stdlib_module_names, "builtins"}


def test_building_imports_nothing_that_acts() -> None:
    code = (
        "import sys; from explorer.corpora import BUILT_IN; BUILT_IN['python-stdlib'](); "
        "print({'this', 'antigravity', 'turtle', 'tkinter', 'idlelib', 'readline', '__hello__'} & set(sys.modules))"
    )
    assert in_fresh_process(code) == "set()"


def test_stdlib_is_the_same_in_every_process(stdlib: Corpus) -> None:
    """Also in this one, where pytest has put its own function in the place of `sys.unraisablehook`."""
    code = "from explorer.corpora import BUILT_IN; print(BUILT_IN['python-stdlib']().content_hash)"
    assert in_fresh_process(code) == stdlib.content_hash


def test_clean_cuts_at_the_last_paragraph_that_fits() -> None:
    first, second = "a" * (MAX_CHARACTERS - 100), "b" * 200
    assert clean(f"\n    {first}\n\n    {second}\n") == first
    assert clean(f"  {first}\n  ") == first


def test_clean_cuts_one_long_paragraph_between_words() -> None:
    assert clean("word " * 1000) == " ".join(["word"] * (MAX_CHARACTERS // len("word ")))


# ---- judgments


def test_judgments_of_missing_documents_are_dropped_and_noted() -> None:
    known = {"shutil.rmtree"}
    queries, qrels, notes = read_queries(QUERIES["python-stdlib"], known)
    assert queries == {"q001": "delete a folder and everything in it"}
    assert qrels == {"q001": {"shutil.rmtree": 2}}
    total = sum(len(line["relevant"]) for line in lines_of("python-stdlib"))
    assert [note for note in notes if f"left out {total - 1} judgments" in note]


# ---- mteb-tasks


def test_mteb_tasks(tasks: Corpus) -> None:
    assert len(tasks) > 500
    assert len(tasks.queries) >= 25
    banking = tasks.document("Banking77Classification")
    assert banking.label == "Classification"
    assert banking.text.startswith("Dataset composed of online banking queries")
    assert banking.text.endswith("Domains: written.")
    assert banking.fields["languages"] == "1"
    assert int(tasks.document("BibleNLPBitextMining").fields["languages"]) > 800


def test_mteb_tasks_leave_the_random_generators_alone() -> None:
    code = (
        "import random, numpy, torch; from explorer.corpora import BUILT_IN; "
        "random.seed(7); numpy.random.seed(7); torch.manual_seed(7); BUILT_IN['mteb-tasks'](); "
        "print(random.random(), numpy.random.random(), torch.rand(1).item())"
    )
    random_, numpy_, torch_ = random.Random(7), np.random.RandomState(7), torch.Generator().manual_seed(7)
    expected = f"{random_.random()} {numpy_.random()} {torch.rand(1, generator=torch_).item()}"
    assert in_fresh_process(code) == expected
