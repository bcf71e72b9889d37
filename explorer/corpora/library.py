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
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..limits import Limits
from ..store import content_hash, data_dir, whole_file
from . import BUILT_IN, Corpus

GRADES = (0, 1, 2)
"""Not relevant, relevant, very relevant."""
KEPT_OPEN = 8
"""Corpora of one's own that are held in memory."""


def safe_name(name: str) -> str:
    """A name that is safe as a folder and in an address: lower case letters, digits, dot, dash."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60] or "corpus"


class Library:
    """Opens corpora by name and keeps what the user added. Thread-safe.

    Several of these may stand side by side, each with what one person added; they then share what is built in.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        built_in: Library | None = None,
        limits: Limits | None = None,
        temporary: bool = False,
        closed: str = "",
    ) -> None:
        """`root`: the folder of what is added, by default the user's data directory. `built_in`: where the built-in
        corpora are taken from. `temporary`: vectors are kept in `root` as well, and go with it. `closed`: why nothing
        can be added or judged here."""
        self._root, self._built_in, self._limits = root, built_in, limits or Limits()
        self._temporary, self._closed = temporary, closed
        self._came: dict[str, Corpus] = {}  # as they came
        self._judged: dict[str, Corpus] = {}  # with the user's judgments laid over
        self._lock = threading.RLock()

    def _folder(self, name: str) -> Path:
        if self._root is None:
            return data_dir(name)
        folder = self._root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def own(self) -> list[str]:
        """The user's own corpora, in alphabetical order."""
        if self._closed:
            return []
        return sorted(path.name for path in self._folder("corpora").iterdir() if not path.name.startswith("."))

    @property
    def names(self) -> list[str]:
        """Built-in corpora, then the user's own."""
        return [*BUILT_IN, *self.own]

    def folder_of(self, name: str) -> Path | None:
        """Where a corpus of the user's own lies; None for any other name."""
        return self._folder("corpora") / name if name in self.own else None

    def open(self, name: str) -> Corpus:
        """A corpus by name with the user's judgments laid over it; `InputError` naming the valid ones."""
        with self._lock:
            if name not in self._judged:
                came = self._as_it_came(name)
                queries, qrels = self._own_judgments(came)
                self._judged[name] = came.with_judgments(queries, qrels) if qrels else came
                self._let_go(name)
            return self._judged[name]

    def is_open(self, name: str) -> bool:
        """Whether `open` answers at once."""
        return name in self._judged

    def _as_it_came(self, name: str) -> Corpus:
        if name in BUILT_IN and self._built_in is not None:
            with self._built_in._lock:
                return self._built_in._as_it_came(name)
        if name not in self._came:
            self._came[name] = self._read(name)
        return self._came[name]

    def _read(self, name: str) -> Corpus:
        if name in BUILT_IN:
            return BUILT_IN[name]()
        if name not in self.names:
            raise InputError(f"no corpus '{name[:80]}'; there are: {', '.join(self.names)}")
        from .readers import read_corpus

        corpus = read_corpus(self._folder("corpora") / name, name=name)
        return replace(corpus, vectors=self._folder("vectors")) if self._temporary else corpus

    def _let_go(self, name: str) -> None:
        """Keep few corpora of the user's own in memory; they are read again when they are wanted."""
        held = [other for other in self._judged if other not in BUILT_IN and other != name]
        for other in held[: max(0, len(held) - KEPT_OPEN + 1)]:
            self._forget(other)

    def add(self, corpus: Corpus) -> str:
        """Keep a corpus of the user's; returns its name, numbered where another corpus has it already.

        Raises `InputError` where it is too large, or one too many.
        """
        from .readers import write_beir

        self._check_open()
        self._limits.check_documents(len(corpus))
        with self._lock:
            base = name = safe_name(corpus.name)
            number = 1
            while name in self.names:
                if name not in BUILT_IN and self.open(name).content_hash == corpus.content_hash:
                    break  # the same documents again: replace, which may bring new queries
                number += 1
                name = f"{base}-{number}"
            most = self._limits.corpora
            if most is not None and name not in self.own and len(self.own) >= most:
                raise InputError(f"you have {most} corpora here, which are the most; forget one of them first")
            write_beir(corpus, self._folder("corpora") / name)
            self._forget(name)
            return name

    def remove(self, name: str) -> None:
        """Delete a corpus of the user's. Built-in ones stay."""
        with self._lock:
            if name not in self.own:
                raise InputError(f"'{name[:80]}' is not a corpus of yours")
            self._forget(name)
            shutil.rmtree(self._folder("corpora") / name)

    def _forget(self, name: str) -> None:
        self._came.pop(name, None)
        self._judged.pop(name, None)

    def judge(self, name: str, query: str, document: str, grade: int | None) -> Corpus:
        """Record the user's judgment of a document for a query text; None forgets it. Returns the corpus anew."""
        self._check_open()
        if grade is not None and grade not in GRADES:
            raise InputError(f"a judgment is one of {', '.join(map(str, GRADES))}, not {grade}")
        self._limits.check_text(query)
        with self._lock:
            corpus = self.open(name)
            corpus.document(document)
            id = query_id(corpus, query)
            queries, qrels = self._own_judgments(corpus)
            judged = qrels.setdefault(id, {})
            judged.pop(document, None)
            if grade is not None:
                judged[document] = grade
            queries[id] = query.strip()
            if not judged:
                del queries[id], qrels[id]
            with whole_file(self._judgments_file(corpus)) as file:
                file.write_text(json.dumps({"queries": queries, "qrels": qrels}), encoding="utf-8")
            self._judged.pop(name, None)
            return self.open(name)

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(self._closed)

    def _judgments_file(self, corpus: Corpus) -> Path:
        return self._folder("judgments") / f"{corpus.content_hash[:40]}.json"

    def _own_judgments(self, corpus: Corpus) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        """The user's own queries and judgments of a corpus."""
        if self._closed:
            return {}, {}
        file = self._judgments_file(corpus)
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            return dict(stored["queries"]), {q: dict(judged) for q, judged in stored["qrels"].items()}
        except FileNotFoundError:
            return {}, {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the stored judgments of '{corpus.name}' are damaged: {file.name}") from error


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
