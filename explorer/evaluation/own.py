"""Tasks of one's own data, named KIND:PATH.

retrieval:PATH        a BEIR folder or zip (documents, queries, qrels), or a corpus of the library with judged queries
classification:PATH   labelled texts: a folder with train and test files, or one file, of which half is held out
clustering:PATH       labelled texts: one file, or a folder with a test file
sts:PATH              pairs with scores: columns sentence1, sentence2, score (or the first two texts and a number)

Queries that are documents do not find themselves, and queries without a relevant document do not count.

Files: CSV, TSV, JSON, JSON Lines or Parquet. A path alone is enough where its content says the kind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..corpora.documents import columns_of
from ..corpora.formats import READABLE, open_table
from ..corpora.library import open_anything, safe_name
from ..corpora.readers import read_corpus
from ..corpora.rows import readable, show, show_all
from ..errors import InputError
from .builtin import split
from .from_rows import Labelled, check_labels, classification_task, clustering_task, retrieval_task, sts_task
from .scored_pairs import pair_columns, read_scored_pairs
from .tasks import Task

Notes = tuple[str, ...]

RETRIEVE = "Given a query, retrieve documents that answer it"
SORT = "Classify the given text"
GROUP = "Identify the category of the given text"
COMPARE = "Retrieve semantically similar text"

TRAIN, TEST = ("train", "training"), ("test", "dev", "validation")


def is_own(name: str) -> bool:
    """Whether a task's name says that it is one's own data."""
    return name.partition(":")[0] in KINDS or "/" in name.partition("@")[0] or Path(name).suffix.lower() in READABLE


def own(name: str) -> Task:
    """The task of KIND:PATH. Raises `InputError`."""
    kind, colon, place = name.partition(":")
    if kind in KINDS and colon:
        return KINDS[kind](place.strip())
    with readable(Path(name)):
        there = Path(name).exists()
    if not there:
        raise InputError(f"there is no file or folder {show(name)}; give one's own data as KIND:PATH")
    return KINDS[_guess(Path(name))](name)


def _guess(path: Path) -> str:
    """The kind of data at a path, where that is plain."""
    if (path.is_dir() and any(path.glob("corpus.*"))) or path.suffix.lower() == ".zip":
        return "retrieval"
    file = path if path.is_file() else next((f for f in sorted(path.iterdir()) if _is_table(f)), None)
    if file is not None:
        head = [row for row, _ in zip(open_table(file).rows, range(20), strict=False)]
        if pair_columns(columns_of(head)):
            return "sts"
    raise InputError(f"{show(path)} does not say what kind of task it is; write one of {_kinds()} before the path")


def _kinds() -> str:
    return ", ".join(f"{kind}:" for kind in KINDS)


def _name(path: str, kind: str) -> str:
    """A task's name: the file's, with the kind."""
    where = Path(path)
    stem = where.stem if where.suffix.lower() in (*READABLE, ".zip") else where.name
    if stem in (*TRAIN, *TEST, "corpus", "data") and where.resolve().parent.name:
        stem = where.resolve().parent.name
    return f"{safe_name(stem)}-{kind}"


# ---- kinds ---------------------------------------------------------------------------------------------------------


def _retrieval(place: str) -> Task:
    corpus = open_anything(place)
    in_library = not Path(place).exists()
    return retrieval_task(_name(place, "retrieval"), corpus, RETRIEVE, "own", place if in_library else "")


def _clustering(place: str) -> Task:
    rows, notes = _labelled(_file(place, TEST))
    return clustering_task(_name(place, "clustering"), rows, GROUP, "own", notes)


def _classification(place: str) -> Task:
    name = _name(place, "classification")
    if Path(place).is_dir():
        (train, more), (test, notes) = _labelled(_file(place, TRAIN)), _labelled(_file(place, TEST))
        return classification_task(name, train, test, SORT, "own", (*more, *notes))
    rows, notes = _labelled(_file(place, TEST))
    check_labels(name, rows)
    train, test = split(rows)
    notes += ("half of the texts of each label are held out for the test, for there is no train part of its own",)
    left_out = {label for _, label in rows} - {label for _, label in train}
    if left_out:
        notes += (f"labels with a single text were left out: {show_all(sorted(left_out), 5)}",)
    return classification_task(name, train, test, SORT, "own", notes)


def _sts(place: str) -> Task:
    pairs, notes = read_scored_pairs(_file(place, TEST))
    return sts_task(_name(place, "sts"), pairs, COMPARE, "own", notes)


KINDS: dict[str, Callable[[str], Task]] = {
    "retrieval": _retrieval,
    "beir": _retrieval,
    "classification": _classification,
    "clustering": _clustering,
    "sts": _sts,
}


# ---- files ---------------------------------------------------------------------------------------------------------


def _is_table(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in READABLE and not path.name.startswith(".")


def _file(place: str, wanted: tuple[str, ...]) -> Path:
    """The file itself, or of a folder the one with such a name; the only one if it has no other."""
    path = Path(place)
    with readable(path):
        if path.is_file():
            return path
        if not path.is_dir():
            raise InputError(f"there is no file or folder {show(place)}")
        files = [file for file in sorted(path.iterdir()) if _is_table(file)]
    for name in wanted:
        for file in files:
            if file.stem.lower() == name:
                return file
    if len(files) == 1 and wanted is TEST:
        return files[0]
    raise InputError(f"the folder {show(path.name)} has no file {wanted[0]}.csv, {wanted[0]}.jsonl or the like")


def _labelled(file: Path) -> tuple[Labelled, Notes]:
    """Texts with labels, and what was left out."""
    corpus = read_corpus(file)
    rows = [(d.passage, d.label) for d in corpus.documents if d.label.strip()]
    left_out = len(corpus) - len(rows)
    if not rows:
        raise InputError(f"{show(file.name)} has no labels; give a column 'label'")
    notes = (f"{left_out:,} texts without a label were left out",) if left_out else ()
    return rows, (*corpus.notes, *notes)
