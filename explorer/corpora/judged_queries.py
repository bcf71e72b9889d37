"""Hand-written queries and judgments that come with a built-in corpus: one JSON object a line.

    {"id": "q001", "query": "delete a folder and everything in it", "relevant": {"shutil.rmtree": 2}}

Grade 2 answers the query, grade 1 helps or answers it in part.
"""

from __future__ import annotations

import json
from collections.abc import Container
from importlib.resources import files


def read_queries(file: str, known: Container[str]) -> tuple[dict[str, str], dict[str, dict[str, int]], tuple[str, ...]]:
    """Queries, qrels and notes of the package data file `file`, without what this installation does not have.

    A judgment of a document outside `known` is dropped, and with its last judgment the query: the same file serves
    several versions of what the documents are read from. `notes` says in one sentence what was dropped, if anything.
    """
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    dropped: list[str] = []
    for line in (files(__package__) / file).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        judged = {document: grade for document, grade in entry["relevant"].items() if document in known}
        dropped += sorted(entry["relevant"].keys() - judged.keys())
        if judged:
            queries[entry["id"]] = entry["query"]
            qrels[entry["id"]] = judged
    return queries, qrels, (_note(dropped),) if dropped else ()


def _note(dropped: list[str]) -> str:
    shown = ", ".join(dropped[:5]) + (", …" if len(dropped) > 5 else "")
    return f"left out {len(dropped)} judgments of documents that this installation does not have ({shown})"
