"""Scores that others published, with their source, to stand beside our own.

Known are: published.json here, a published.json in the folder of local data, and what `mteb.ResultCache` has downloaded
on this machine (`mteb.ResultCache().download_from_remote()`). Nothing is fetched.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .tasks import Task

log = logging.getLogger(__name__)

HERE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Published:
    """One published main score."""

    model: str
    task: str
    score: float
    source: str


def published(tasks: Iterable[Task], models: Sequence[str] = (), data_dir: Path | None = None) -> list[Published]:
    """What is known for these tasks on the very split, subset and metric; first found first.

    `models`: hub ids of the variants, looked up in what mteb has downloaded.
    """
    official = [task for task in tasks if task.source in ("hub", "local")]
    found: dict[tuple[str, str], Published] = {}
    files = [HERE, *([data_dir / "published.json"] if data_dir else [])]
    for entry in (e for file in files for e in _entries(file)):
        for task in official:
            score = _fitting(entry["scores"].get(task.name), task)
            if score is not None:
                one = Published(entry["model"], task.name, score, entry["source"])
                found.setdefault((one.model, one.task), one)
    for one in _downloaded(official, models):
        found.setdefault((one.model, one.task), one)
    return list(found.values())


def _entries(file: Path) -> list[dict[str, Any]]:
    """The models of a file: one, or a list of them. A file that cannot be read is told and left out."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored = stored if isinstance(stored, list) else [stored]
        return [
            {
                "model": str(e["model"]),
                "scores": dict(e["scores"]),
                "source": str(e.get("source") or e.get("note") or file),
            }
            for e in stored
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s holds no published scores that can be read", file.name)
        return []


def _fitting(entry: Any, task: Task) -> float | None:
    """The score of an entry if it is of this metric, split and subset."""
    if not isinstance(entry, Mapping):
        return None
    score = entry.get("score", entry.get("published"))
    asked = (entry.get("metric"), entry.get("split"), entry.get("subset", "default"))
    fits = asked == (task.metric, task.split, task.subset) and isinstance(score, int | float)
    return float(score) if fits and score is not None else None


def _downloaded(tasks: Sequence[Task], models: Sequence[str]) -> Iterable[Published]:
    """What mteb's own cache of leaderboard results has for these models."""
    root = Path(os.environ.get("MTEB_CACHE") or Path.home() / ".cache" / "mteb")
    results = root / "remote" / "results"
    for model in models:
        for file in sorted((results / model.replace("/", "__")).glob("*/*.json")):
            for task in tasks:
                if file.stem != task.name:
                    continue
                try:
                    rows = json.loads(file.read_text(encoding="utf-8"))["scores"][task.split]
                    scores = [row["main_score"] for row in rows if row["hf_subset"] == task.subset]
                except (OSError, ValueError, KeyError, TypeError):
                    continue
                if scores:
                    source = f"embeddings-benchmark/results, revision {file.parent.name[:12]}"
                    yield Published(model, task.name, float(scores[0]), source)
