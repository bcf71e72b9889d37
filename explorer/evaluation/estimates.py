"""How long an evaluation will take: characters to encode, by the speed measured on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..store import cache_dir, whole_file
from .sampling import OTHERS
from .tasks import Task

if TYPE_CHECKING:
    from ..encoder import Encoder

UNKNOWN = 1_000_000
"""Characters assumed of a task that does not tell its size."""

ENOUGH = 50_000
"""Characters from which a measured speed is kept: less is mostly start-up."""

PROBE_SECONDS = 0.5
PROBE = "The quick brown fox jumps over the lazy dog while the evening light falls on the river and its two bridges. "


def work_of(task: Task, sample: int | None = None) -> int:
    """Characters of a task, or a guess; of a sample about its share."""
    whole = task.characters or UNKNOWN
    if sample is None or not task.samples:
        return whole
    kept = sample if task.symmetric else sample * (OTHERS + 2)
    return max(1, int(whole * min(1.0, kept / task.samples)))


def _speeds() -> dict[str, float]:
    try:
        found = json.loads((cache_dir("evaluation") / "speed.json").read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def remember_speed(encoder: Encoder, characters: int, seconds: float) -> None:
    """Keep a measured speed for the next estimate, where enough was encoded to tell."""
    if characters >= ENOUGH and seconds > 0:
        speeds = {**_speeds(), encoder.key("document")[:40]: characters / seconds}
        with whole_file(cache_dir("evaluation") / "speed.json") as file:
            file.write_text(json.dumps(speeds), encoding="utf-8")


def measure_speed(encoder: Encoder) -> float:
    """Characters a second of an encoder here: as remembered, else measured in about a second."""
    known = _speeds().get(encoder.key("document")[:40])
    if known:
        return known
    encoder.encode([PROBE])  # the first call of a model takes much longer than any other
    count, seconds = 4, 0.0
    while seconds < PROBE_SECONDS and count <= 1024:
        count *= 2
        started = time.monotonic()
        encoder.encode([PROBE[: 40 + i % 60] for i in range(count)])
        seconds = time.monotonic() - started
    return sum(40 + i % 60 for i in range(count)) / max(seconds, 1e-6)


def seconds_of(tasks: Sequence[Task], speeds: Mapping[str, float], sample: int | None = None) -> dict[str, float]:
    """Task -> seconds of encoding with all these variants; scoring takes more, mostly little."""
    return {task.name: sum(work_of(task, sample) / speed for speed in speeds.values()) for task in tasks}
