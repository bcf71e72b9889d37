"""A part of a task, for a first look. Its score is not comparable with the leaderboard, and says so."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

SEED = 20240902
OTHERS = 20
"""Documents kept per query beside the judged ones: enough to get it wrong."""


def subsample(made: AbsTask, split: str, subset: str, count: int) -> bool:
    """Keep at most `count` examples of a loaded task (queries, pairs, texts); whether anything was left out.

    Retrieval keeps the documents judged for the kept queries and `OTHERS` more a query. Classification keeps all it
    learns from (mteb draws a few texts of each label). The same count gives the same part.
    """
    if count < 10:
        raise InputError(f"a sample needs at least 10 examples; got {count}")
    where: Any = made.dataset
    holder = where.get(subset, where)
    data = holder[split]
    if hasattr(data, "column_names"):
        if len(data) <= count:
            return False
        holder[split] = data.select(sorted(random.Random(SEED).sample(range(len(data)), count)))
        return True
    if isinstance(data, dict) and "relevant_docs" in data:
        return _subsample_retrieval(data, count)
    raise InputError(f"a task of type {made.metadata.type} cannot be subsampled; evaluate it whole")


def _subsample_retrieval(data: dict[str, Any], count: int) -> bool:
    chosen = random.Random(SEED)
    judged = sorted(q for q, j in data["relevant_docs"].items() if any(grade > 0 for grade in j.values()))
    if len(judged) <= count:
        return False
    kept = set(chosen.sample(judged, count))
    data["relevant_docs"] = {q: j for q, j in data["relevant_docs"].items() if q in kept}
    data["queries"] = data["queries"].select([i for i, q in enumerate(data["queries"]["id"]) if q in kept])
    needed = {d for j in data["relevant_docs"].values() for d in j}
    if data.get("top_ranked"):
        data["top_ranked"] = {q: ids for q, ids in data["top_ranked"].items() if q in kept}
        needed |= {d for ids in data["top_ranked"].values() for d in ids}
    ids = list(data["corpus"]["id"])
    others = [i for i, id in enumerate(ids) if id not in needed]
    more = chosen.sample(others, min(len(others), OTHERS * count))
    data["corpus"] = data["corpus"].select(sorted([i for i, id in enumerate(ids) if id in needed] + more))
    return True
