"""Built-in corpus: the tasks that the installed mteb knows, one document a task.

Read from the metadata on the task classes: we make no task, and no dataset is touched.
"""

from __future__ import annotations

import importlib.metadata
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import InputError
from . import Corpus, Document
from .judged_queries import read_queries

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata


def build() -> Corpus:
    """The corpus `mteb-tasks`, with its hand-written queries and judgments. As slow as importing mteb (seconds).

    Raises `InputError` if mteb is not installed.
    """
    documents = tuple(sorted((_document(metadata) for metadata in _all_metadata()), key=lambda d: d.id))
    queries, qrels, notes = read_queries("mteb_tasks_queries.jsonl", known={d.id for d in documents})
    source = f"task metadata of mteb {importlib.metadata.version('mteb')}"
    return Corpus("mteb-tasks", documents, queries, qrels, source=source, notes=notes)


def _all_metadata() -> Iterator[TaskMetadata]:
    """Metadata of every task class, also of those that `mteb.get_tasks()` leaves out as superseded."""
    with _random_states_kept():
        try:
            from mteb import AbsTask, tasks  # here, not above: mteb takes seconds to import
        except ImportError as error:
            raise InputError("corpus 'mteb-tasks' needs the package mteb; install it with: pip install mteb") from error
    for value in vars(tasks).values():
        if isinstance(value, type) and issubclass(value, AbsTask):
            yield value.metadata


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Put the global random generators back: importing mteb makes a few tasks, and each reseeds all three."""
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(pytorch)


def _document(metadata: TaskMetadata) -> Document:
    return Document(
        id=metadata.name,
        title=metadata.name,
        text=_text(metadata),
        label=metadata.type,
        fields={
            "languages": str(len(metadata.languages)),
            "modalities": ", ".join(metadata.modalities),
            "category": metadata.category or "",
            "license": metadata.license or "",
            "reference": metadata.reference or "",
            "superseded by": metadata.superseded_by or "",
        },
    )


def _text(metadata: TaskMetadata) -> str:
    """The description and, as a sentence, the domains: "... Domains: legal, written."."""
    description = " ".join(metadata.description.split())
    if description and description[-1] not in ".!?":
        description += "."
    domains = f"Domains: {', '.join(domain.lower() for domain in metadata.domains)}." if metadata.domains else ""
    return f"{description} {domains}".strip()
