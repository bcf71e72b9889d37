"""Built-in corpus: short passages on everyday topics, written for this project, to see differences by.

Unlike the other two it does not depend on what is installed. Many passages come in pairs that share most of their
words and differ in one decisive thing: a number, a negation, who did it to whom, what came first, or the very last
word. Words with two meanings (bank, bat, spring, seal, mercury) occur in both. The id is the topic and a short name,
the label the topic; there is no title, as the id would give the answer away.

    documents   everyday.jsonl           {"id", "label", "text"}
    queries     everyday_queries.jsonl   {"id", "kind", "query", "relevant"}; the kind says what makes it hard
"""

from __future__ import annotations

import json
from importlib.resources import files

from . import Corpus, Document
from .judged_queries import read_queries

DOCUMENTS = "everyday.jsonl"
QUERIES = "everyday_queries.jsonl"


def build() -> Corpus:
    """The corpus `everyday`, with its queries and judgments."""
    documents = tuple(Document(**json.loads(line)) for line in _lines(DOCUMENTS))
    queries, qrels, notes = read_queries(QUERIES, known={d.id for d in documents})
    return Corpus("everyday", documents, queries, qrels, source="written for this project", notes=notes)


def query_kinds() -> dict[str, str]:
    """Query id -> what makes it hard: "negation", "number", "homonym" …"""
    return {entry["id"]: entry["kind"] for entry in map(json.loads, _lines(QUERIES))}


def _lines(file: str) -> list[str]:
    return (files(__package__) / file).read_text(encoding="utf-8").splitlines()
