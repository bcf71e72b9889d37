"""A corpus: documents, optionally with labels, queries and relevance judgments (qrels).

corpus = open_corpus("python-stdlib")          # built in: read from what is installed
corpus = read_corpus(Path("my-documents.csv")) # the user's own: see readers.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..errors import InputError
from ..store import content_hash
from .itself import by_text, queries_that_are_documents

Qrels = Mapping[str, Mapping[str, int]]
"""query id -> document id -> grade; 0 is judged not relevant, higher is more relevant."""

MAX_DOCUMENTS = 200_000
"""More than this is refused: the page is interactive up to here."""


@dataclass(frozen=True)
class Document:
    """One document. `fields` holds whatever else the source had (extra columns), as text."""

    id: str
    text: str
    title: str = ""
    label: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def passage(self) -> str:
        """What is embedded: title and text joined by a space, as BEIR does."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True)
class Corpus:
    """Documents with unique ids, in a fixed order; queries and judgments where the source has them.

    Raises `InputError` if there is no document, ids repeat or are empty, or qrels name an unknown query or document.
    `notes` are sentences about what was skipped or repaired while reading, to be shown to the user.
    """

    name: str
    documents: tuple[Document, ...]
    queries: Mapping[str, str] = field(default_factory=dict)
    qrels: Qrels = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()
    vectors: Path | None = field(default=None, repr=False, compare=False)
    """The folder for what is computed from the documents, where that is to go with them; None: the cache."""

    def __post_init__(self) -> None:
        if not self.documents:
            raise InputError(f"corpus '{self.name}' has no documents")
        if len(self.position) != len(self.documents):
            seen: set[str] = set()
            twice = next(d.id for d in self.documents if d.id in seen or seen.add(d.id))  # type: ignore[func-returns-value]
            raise InputError(f"corpus '{self.name}' has the document id '{twice[:80]}' twice; ids must be unique")
        if "" in self.position:
            raise InputError(f"corpus '{self.name}' has an empty document id (document {self.position[''] + 1})")
        for query, judged in self.qrels.items():
            if query not in self.queries:
                raise InputError(f"qrels of corpus '{self.name}' name the unknown query id '{query[:80]}'")
            for document in judged:
                if document not in self.position:
                    raise InputError(f"qrels of corpus '{self.name}' name the unknown document id '{document[:80]}'")

    def __len__(self) -> int:
        return len(self.documents)

    @cached_property
    def position(self) -> dict[str, int]:
        """Document id -> row."""
        return {d.id: i for i, d in enumerate(self.documents)}

    @cached_property
    def ids(self) -> list[str]:
        """Document ids in order."""
        return [d.id for d in self.documents]

    @cached_property
    def passages(self) -> list[str]:
        """What is embedded, one string a document, in order."""
        return [d.passage for d in self.documents]

    @cached_property
    def content_hash(self) -> str:
        """Hash of ids and passages: the key of everything computed from the documents."""
        return content_hash(part for d in self.documents for part in (d.id, d.passage))

    @cached_property
    def labels(self) -> list[str]:
        """The distinct labels, in alphabetical order; empty when the corpus has none."""
        return sorted({d.label for d in self.documents if d.label})

    @cached_property
    def itself(self) -> frozenset[str]:
        """Ids of queries that are the document of that id, which is no answer to them (itself.py says when)."""
        return queries_that_are_documents(self)

    def judged(self, query: str) -> dict[str, int]:
        """Give the judgments that count for a query.

        Args:
            query: Its id.

        Returns:
            Document id -> grade, without the query's own document (`itself`); empty where nothing is judged.
        """
        return {id: grade for id, grade in self.qrels.get(query, {}).items() if id != query or id not in self.itself}

    @cached_property
    def by_text(self) -> Mapping[str, tuple[str, ...]]:
        """What documents say, as `itself.plain` has it -> their ids."""
        return by_text(self.documents)

    def document(self, id: str) -> Document:
        """The document of that id; `InputError` if there is none."""
        if id not in self.position:
            raise InputError(f"corpus '{self.name}' has no document '{id[:80]}'")
        return self.documents[self.position[id]]

    def with_judgments(self, queries: Mapping[str, str], qrels: Qrels) -> Corpus:
        """A copy with further queries and judgments laid over its own."""
        merged = {q: dict(judged) for q, judged in self.qrels.items()}
        for query, judged in qrels.items():
            merged.setdefault(query, {}).update(judged)
        made = replace(self, queries={**self.queries, **queries}, qrels=merged)
        made.__dict__.update({name: value for name, value in self.__dict__.items() if name in FROM_DOCUMENTS})
        return made


FROM_DOCUMENTS = ("position", "ids", "passages", "content_hash", "labels", "by_text")
"""What a corpus works out from its documents alone: a copy with other judgments shares it."""


def _python_stdlib() -> Corpus:
    from .python_stdlib import build

    return build()


def _mteb_tasks() -> Corpus:
    from .mteb_tasks import build

    return build()


def _everyday() -> Corpus:
    from .everyday import build

    return build()


BUILT_IN: dict[str, Callable[[], Corpus]] = {
    "python-stdlib": _python_stdlib,
    "mteb-tasks": _mteb_tasks,
    "everyday": _everyday,
}
"""Corpora that need no download: name -> builder."""
