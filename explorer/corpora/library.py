"""The corpora that can be chosen: built in, and the user's own, kept on disk with their judgments.

library = Library()
corpus = library.open("python-stdlib")
name = library.add(read_corpus(Path("mine.csv")))
corpus = library.judge("python-stdlib", "remove a folder", "shutil.rmtree", 1)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from ..store import content_hash, data_dir, whole_file
from . import BUILT_IN, Corpus, Qrels

GRADES = (0, 1, 2)
"""Not relevant, relevant, very relevant."""


def safe_name(name: str) -> str:
    """A name that is safe as a folder and in an address: lower case letters, digits, dot, dash."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60] or "corpus"


class Library:
    """Opens corpora by name and keeps what the user added. Thread-safe."""

    def __init__(self) -> None:
        self._came: dict[str, Corpus] = {}  # as they came
        self._judged: dict[str, Corpus] = {}  # with the user's judgments laid over
        self._lock = threading.RLock()

    @property
    def names(self) -> list[str]:
        """Built-in corpora, then the user's own."""
        own = sorted(path.name for path in data_dir("corpora").iterdir() if not path.name.startswith("."))
        return [*BUILT_IN, *own]

    def open(self, name: str) -> Corpus:
        """A corpus by name with the user's judgments laid over it; `InputError` naming the valid ones."""
        with self._lock:
            if name not in self._judged:
                if name not in self._came:
                    self._came[name] = self._read(name)
                self._judged[name] = self._came[name].with_judgments(*_own_judgments(self._came[name]))
            return self._judged[name]

    def is_open(self, name: str) -> bool:
        """Whether `open` answers at once."""
        return name in self._judged

    def _read(self, name: str) -> Corpus:
        if name in BUILT_IN:
            return BUILT_IN[name]()
        if name not in self.names:
            raise InputError(f"no corpus '{name[:80]}'; there are: {', '.join(self.names)}")
        from .readers import read_corpus

        return read_corpus(data_dir("corpora") / name, name=name)

    def add(self, corpus: Corpus) -> str:
        """Keep a corpus of the user's; returns its name, numbered where another corpus has it already."""
        from .readers import write_beir

        with self._lock:
            base = name = safe_name(corpus.name)
            number = 1
            while name in self.names:
                if name not in BUILT_IN and self.open(name).content_hash == corpus.content_hash:
                    break  # the same documents again: replace, which may bring new queries
                number += 1
                name = f"{base}-{number}"
            write_beir(corpus, data_dir("corpora") / name)
            self._forget(name)
            return name

    def remove(self, name: str) -> None:
        """Delete a corpus of the user's. Built-in ones stay."""
        with self._lock:
            if name in BUILT_IN or name not in self.names:
                raise InputError(f"'{name[:80]}' is not a corpus of yours")
            self._forget(name)
            shutil.rmtree(data_dir("corpora") / name)

    def _forget(self, name: str) -> None:
        self._came.pop(name, None)
        self._judged.pop(name, None)

    def judge(self, name: str, query: str, document: str, grade: int | None) -> Corpus:
        """Record the user's judgment of a document for a query text; None forgets it. Returns the corpus anew."""
        if grade is not None and grade not in GRADES:
            raise InputError(f"a judgment is one of {', '.join(map(str, GRADES))}, not {grade}")
        with self._lock:
            corpus = self.open(name)
            corpus.document(document)
            id = query_id(corpus, query)
            queries, qrels = _own_judgments(corpus)
            judged = qrels.setdefault(id, {})
            judged.pop(document, None)
            if grade is not None:
                judged[document] = grade
            queries[id] = query.strip()
            if not judged:
                del queries[id], qrels[id]
            _write_judgments(corpus, queries, qrels)
            self._judged.pop(name, None)
            return self.open(name)


def open_anything(name: str) -> Corpus:
    """A corpus by name, or read from a file or folder that exists. Raises `InputError`."""
    library = Library()
    if name not in library.names and os.path.exists(name):  # False, not an error, for what can be no path
        from .readers import read_corpus

        return read_corpus(Path(name))
    return library.open(name)


def query_id(corpus: Corpus, query: str) -> str:
    """The id of a query text in the corpus, or a new one made from the text."""
    wanted = query.strip()
    for id, text in corpus.queries.items():
        if text.strip() == wanted:
            return id
    return f"typed-{content_hash([wanted])[:10]}"


def _judgments_file(corpus: Corpus) -> Path:
    return data_dir("judgments") / f"{corpus.content_hash[:40]}.json"


def _own_judgments(corpus: Corpus) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """The user's own queries and judgments of a corpus."""
    try:
        stored = json.loads(_judgments_file(corpus).read_text(encoding="utf-8"))
        return dict(stored["queries"]), {q: dict(judged) for q, judged in stored["qrels"].items()}
    except FileNotFoundError:
        return {}, {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the stored judgments of '{corpus.name}' are damaged: {_judgments_file(corpus).name}"
        ) from error


def _write_judgments(corpus: Corpus, queries: Mapping[str, str], qrels: Qrels) -> None:
    with whole_file(_judgments_file(corpus)) as file:
        file.write_text(json.dumps({"queries": queries, "qrels": qrels}), encoding="utf-8")
