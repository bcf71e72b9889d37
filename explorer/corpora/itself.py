"""Queries that are documents: a document is never an answer to itself.

Where questions are searched among questions, or papers among papers, a query is often one of the documents, under the
same id. It would stand first in every ranking and push the answers down. mteb's tasks of that kind carry a flag
(`ignore_identical_ids`), by which a document with the query's id is no hit, whatever it says. One's own data carries no
flag, and its queries and documents may merely be numbered alike, so the texts decide what equal ids mean:

1. If at least half of the queries whose id is a document's say the same as that document (the same text, or one holds
   the other: a title, a cut text), ids mean the same throughout: every such query is that document.
2. Else only those are whose text is, letter by letter but for case and white space, the document's.
3. A document that is judged relevant to the query of its own id is an answer all the same, as the judge said so. Only
   where its text is the query's own and something else is relevant too, the judgment says nothing and does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Corpus, Document

SHARE = 0.5
"""From this share of queries that say the same as the document of their id, all ids mean the same."""


def queries_that_are_documents(corpus: Corpus) -> frozenset[str]:
    """Find the queries that are the document with their id.

    Args:
        corpus: Documents, queries and judgments.

    Returns:
        The ids that query and document share, for which the document is no answer to the query.
    """
    shared = [id for id in corpus.queries if id in corpus.position]
    alike = [id for id in shared if _alike(corpus.queries[id], corpus.document(id))]
    throughout = bool(alike) and len(alike) >= SHARE * len(shared)
    return frozenset(id for id in (shared if throughout else alike) if _is_itself(corpus, id, throughout))


def _is_itself(corpus: Corpus, id: str, throughout: bool) -> bool:
    """Rules 2 and 3, for a query and a document of one id."""
    same = plain(corpus.queries[id]) in _texts(corpus.document(id))
    judged = corpus.qrels.get(id, {})
    if judged.get(id, 0) <= 0:
        return same or throughout
    return same and any(grade > 0 for other, grade in judged.items() if other != id)


def _alike(query: str, document: Document) -> bool:
    """Whether query and document say the same: equal, or one holds the other."""
    asked = plain(query)
    return bool(asked) and any(asked in text or text in asked for text in _texts(document) if text)


def _texts(document: Document) -> tuple[str, str]:
    """A document's text, without and with its title."""
    return plain(document.text), plain(document.passage)


def plain(text: str) -> str:
    """A text as it is compared: lower case, single spaces."""
    return " ".join(text.casefold().split())


def by_text(documents: Iterable[Document]) -> Mapping[str, tuple[str, ...]]:
    """Group documents by what they say.

    Args:
        documents: Documents of a corpus.

    Returns:
        Text as `plain` has it -> ids of the documents with it, where a title may stand before it or not.
    """
    found: dict[str, tuple[str, ...]] = {}
    for document in documents:
        for text in dict.fromkeys(_texts(document)):
            if text:
                found[text] = (*found.get(text, ()), document.id)
    return found
