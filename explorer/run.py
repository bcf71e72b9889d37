"""One background run: what was asked for, where it stands, and both in words. jobs.py moves it along."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import progress
from .processes import Process

STATES = ("queued", "running", "stopping", "stopped", "finished", "failed", "interrupted")
ACTIVE = ("running", "stopping")
RESUMABLE = ("stopped", "failed", "interrupted")
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True)
class State:
    """Where a run stands; the content of state.json. Times in seconds since 1970."""

    name: str = "queued"
    queued: float = 0.0
    started: float | None = None
    stop_asked: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    error: str = ""
    supervisor: Process | None = None
    process: Process | None = None
    resume: bool = False
    """Whether the command gets `--resume`: it has run before."""
    seconds_before: float = 0.0
    """Seconds it ran before it was resumed."""
    share_before: float = 0.0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> State:
        """What `dataclasses.asdict` made. KeyError, TypeError or ValueError if it is something else."""
        if data["name"] not in STATES:
            raise ValueError(f"no state {data['name']!r}")
        processes = {k: Process(**data[k]) for k in ("supervisor", "process") if data.get(k)}
        return cls(**{**data, **processes})


@dataclass(frozen=True)
class Run:
    """A background run as it was when it was looked at."""

    id: str
    folder: Path
    kind: str
    arguments: tuple[str, ...]
    title: str
    device: str
    command: tuple[str, ...]
    """What the kind and the arguments are handed to: the interpreter and `-m explorer`."""
    cwd: str
    created: float
    disk: int
    status: State
    record: progress.Record = field(default_factory=dict)
    """The last progress record that says how far it is."""
    waiting_for: int = 0
    """Runs that come before it on its device."""

    @property
    def state(self) -> str:
        """queued, running, stopping, stopped, finished, failed or interrupted."""
        return self.status.name

    @property
    def is_active(self) -> bool:
        """A process runs for it."""
        return self.state in ACTIVE

    @property
    def is_over(self) -> bool:
        """It will not change any more unless it is resumed."""
        return self.state not in (*ACTIVE, "queued")

    @property
    def can_resume(self) -> bool:
        return self.state in RESUMABLE

    @property
    def argv(self) -> list[str]:
        """The whole command."""
        json_option = [] if "--json" in self.arguments else ["--json"]
        return [*self.command, self.kind, *self.arguments, *json_option, *(["--resume"] if self.status.resume else [])]

    @property
    def output(self) -> Path | None:
        """The output folder among its arguments."""
        output = option(self.arguments, "--output")
        return Path(self.cwd, output) if output else None

    @property
    def share(self) -> float | None:
        """How far it is, between 0 and 1; None if it has not said."""
        return 1.0 if self.state == "finished" else progress.share(self.record)

    @property
    def seconds(self) -> float:
        """How long it has run, times before a resume included."""
        if self.status.started is None:
            return self.status.seconds_before
        end = time.time() if self.status.ended is None else self.status.ended
        return self.status.seconds_before + max(0.0, end - self.status.started)

    @property
    def seconds_left(self) -> float | None:
        """By the run's own estimate, else in proportion to what it took so far; None if nobody can say."""
        if self.state != "running" or not self.record:
            return None
        written = progress.written(self.record) or time.time()
        if written < (self.status.started or 0.0):
            return None  # the record is from before it was resumed
        left = progress.seconds_left(self.record)
        if left is None:
            left = self._extrapolated(written)
        return None if left is None else max(0.0, left - max(0.0, time.time() - written))

    def _extrapolated(self, written: float) -> float | None:
        done = (self.share or 0.0) - self.status.share_before
        spent = written - (self.status.started or written)
        return (1 - (self.share or 0.0)) * spent / done if done > 0 and spent > 0 else None

    @property
    def sentence(self) -> str:
        """Its state in words."""
        return getattr(self, f"_{self.state}")()

    @property
    def _took(self) -> str:
        return duration(self.seconds) + ("" if self.share is None else f" at {percent(self.share)}")

    @property
    def _why(self) -> str:
        return f": {self.status.error.rstrip('.')}." if self.status.error else "."

    def _queued(self) -> str:
        if self.waiting_for == 0:
            return "Starting."
        before = "the run" if self.waiting_for == 1 else f"{self.waiting_for} runs"
        return f"Waiting for {before} before it on {self.device}."

    def _running(self) -> str:
        done = "" if self.share is None else f", {percent(self.share)} done"
        left = "" if self.seconds_left is None else f", about {duration(self.seconds_left)} left"
        return f"Running for {duration(self.seconds)}{done}{left}."

    def _stopping(self) -> str:
        return "Stopping: the current step is finished first."

    def _stopped(self) -> str:
        if self.status.started is None:
            return "Taken from the queue before it started."
        return f"Stopped after {self._took}{self._why}"

    def _finished(self) -> str:
        return f"Finished after {duration(self.seconds)}."

    def _interrupted(self) -> str:
        return f"Interrupted after {self._took}{self._why} It can be resumed."

    def _failed(self) -> str:
        if self.status.started is None:
            return f"Could not start{self._why}"
        code = "" if self.status.exit_code is None else f" (exit code {self.status.exit_code})"
        return f"Failed after {self._took}{code}{self._why}"

    def to_json(self) -> dict[str, Any]:
        """For `runs --json`."""
        keys = ("id", "kind", "title", "arguments", "device", "created", "state", "share", "seconds", "seconds_left")
        return {**{k: getattr(self, k) for k in keys}, "exit_code": self.status.exit_code, "sentence": self.sentence}


def verdict(state: str, code: int | None, document: dict[str, Any] | None, log: str) -> tuple[str, str]:
    """State and reason of a run that has ended.

    `state`: before it ended; `code`: negative for a signal, None if nobody was there to see it; `document`: its result;
    `log`: the end of its log.
    """
    number = _signal_number(code)
    if number in CRASHES:
        return "failed", f"it crashed ({_signal_name(number)})"
    if code not in (None, 0) and not number:
        last = next((line.strip() for line in reversed(log.split("\n")) if line.strip()), "")
        return "failed", last[:300]
    if state == "stopping":
        if document is not None and document.get("stopped") is False:
            return "finished", ""  # it was done before the signal came
        killed = "it did not end by itself in time and was killed; what it had saved is kept"
        return "stopped", killed if number == signal.SIGKILL else ""
    if number:
        memory = ", perhaps for want of memory" if number == signal.SIGKILL else ""
        return "interrupted", f"something else ended it ({_signal_name(number)}{memory})"
    if document is not None:
        return ("stopped" if document.get("stopped") is True else "finished"), ""
    if code is None:
        return "interrupted", "its process vanished, as it does when the machine restarts"
    return "failed", "the command ended without its result"


def _signal_number(code: int | None) -> int:
    """The signal that ended a process, 0 if none did; 128 + n is how a command says so itself."""
    if code is None:
        return 0
    return -code if code < 0 else code - 128 if code in (130, 137, 143) else 0


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of `--name value` or `--name=value` among arguments; the last one counts."""
    found = None
    for i, argument in enumerate(arguments):
        if argument == name and i + 1 < len(arguments):
            found = arguments[i + 1]
        elif argument.startswith(f"{name}="):
            found = argument.partition("=")[2]
    return found


def duration(seconds: float) -> str:
    """Seconds in words of at most two units: 42 s, 3 min 5 s, 2 h 10 min, 1 d 3 h."""
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def percent(share: float) -> str:
    """43 %; not 100 % before the end."""
    return f"{100 if share >= 1 else min(round(share * 100), 99)} %"
