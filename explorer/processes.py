"""Is that process still the one we started? And signals that reach it and nobody else."""

from __future__ import annotations

import functools
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Process:
    """A process known by its number and its start, since numbers are used again."""

    pid: int
    mark: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now; one that is gone already counts as not alive for ever."""
        return cls(pid, _mark(pid) or "gone")

    @property
    def alive(self) -> bool:
        """Whether it runs; a zombie, whose parent has not asked for its exit code, does not."""
        return _mark(self.pid) == self.mark

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and what it started; it must lead a group of its own. Nothing happens if it is gone."""
        if self.alive:
            signal_group(self.pid, number)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that `pid` leads or led; nothing happens if nobody is left in it."""
    # PermissionError is what macOS answers for a group of which only zombies are left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _mark(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None if there is none or it has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        if not psutil.LINUX:
            return f"{process.create_time():.2f}"
        # Clock ticks since boot. psutil's create_time adds the boot time, which moves when the clock is set, so that
        # two of our processes would disagree about when a third one started.
        fields = Path(psutil.PROCFS_PATH, str(pid), "stat").read_text(encoding="utf-8", errors="replace")
        return f"{_boot()}/{fields.rpartition(')')[2].split()[19]}"
    except (psutil.Error, OSError):
        return None


@functools.cache
def _boot() -> str:
    """This boot of the machine, empty where the kernel does not tell."""
    with suppress(OSError):
        return Path(psutil.PROCFS_PATH, "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
