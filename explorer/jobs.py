"""Background runs: our own command line in a process of its own, which goes on when the page or the app is closed.

A run is a folder, and nothing about it is kept elsewhere, so that any number of apps and command lines see the same:

    run.json          what was asked for: kind, arguments, title, device, command, working folder, created
    state.json        where it stands: queued, running, stopping, stopped, finished, failed or interrupted
    progress.jsonl    written by the run (progress.py); the environment variable POOLING_EXPLORER_RUN names the folder
    log.txt           what it wrote to standard error
    result.json       the JSON document it wrote to standard output

Who does what: `Runs.tick`, called by whoever looks, starts the next queued run of every idle device. It starts a
supervisor (`python -m explorer.jobs FOLDER ID`, a session of its own), which starts the command, waits, writes down how
it ended and ticks. The queue therefore moves on without any app. All changes of state happen under one file lock.

    runs = Runs()
    run = runs.start("train", ["--design", "mean-causal", …], "First try", device="cpu")
    runs.get(run.id).sentence, runs.progress(run.id), runs.log(run.id), runs.result(run.id)

A command that wants to take part ends after the current step with a usable checkpoint when it gets SIGTERM, takes
`--resume` (also when there is nothing to go on from yet), and may put `"stopped": true` or `false` into its result to
say whether it ended before its time. Needs POSIX (process groups, signals).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from . import progress, store
from .errors import InputError
from .processes import Process, signal_group
from .run import RESUMABLE, Run, State, option, verdict

PROJECT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "explorer")
KINDS = ("train", "evaluate", "study")
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,3})?")
DISK = 500 * 10**6
"""Bytes that must be free before a run starts, unless its starter knows better."""
GRACE = 120.0
"""Seconds a run may take to end after SIGTERM: a step and a checkpoint of a large model."""
POLL = 0.1
"""Seconds between two looks of the supervisor."""
LOCK_SECONDS = 30.0
DAMAGED = "the folder of run '{}' cannot be read; delete the run"
TITLE_LENGTH = 200
STDOUT = ".stdout"
"""Where standard output goes until the command has ended."""
Listing = list[Run]  # `list` is a method below

logger = logging.getLogger(__name__)
_children: list[subprocess.Popen[bytes]] = []  # supervisors this process started: polled, so that none stays a zombie


class Runs:
    """All background runs below one folder. Several of these, in several processes, may share the folder."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        command: Sequence[str] = COMMAND,
        grace: float = GRACE,
        allow: Callable[[Any], None] = lambda kind: None,
    ) -> None:
        """`root`: by default the user's data directory. `command`: what runs started here are handed to.
        `allow`: raises `InputError` for a kind of run that must not be started here."""
        self.allow = allow
        self.root = Path(root).resolve() if root is not None else store.data_dir("runs").resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.command = tuple(command)
        self.grace = grace
        self._file_lock = FileLock(self.root / ".lock")
        self._tails: dict[str, progress.Tail] = {}
        self._tails_lock = threading.Lock()

    # What a page or a command line calls

    def start(self, kind: str, arguments: Sequence[str], title: str, device: str = "cpu", disk: int = DISK) -> Run:
        """Put a run into the queue of its device, and start it if the device is idle.

        `--device` is added to the arguments if it is not among them; `--json` always. InputError if something cannot be
        used, or if fewer than `disk` bytes are free.
        """
        self.allow(kind)
        asked = _checked(kind, arguments, title, device)
        asked |= {"command": self.command, "cwd": os.getcwd(), "disk": disk}
        if problem := self._disk_problem(disk, option(asked["arguments"], "--output")):
            raise InputError(problem)
        with self._locked():
            # Later than every other: the order of the queue, also when the clock was set back.
            now = max([time.time(), *(run.created + 1e-3 for run in self._read_all())])
            id = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{uuid.uuid4().hex[:8]}"
            with store.whole_folder(self.root / id) as folder:
                _write_json(folder / "run.json", {**asked, "created": now})
                _write_json(folder / "state.json", asdict(State(queued=now)))
        self.tick()
        return self.get(id)

    def list(self) -> Listing:
        """All runs, newest first."""
        try:
            self.tick()
        except OSError as error:  # a full disk must not hide the runs
            logger.warning("the queue of runs stands still: %s", error)
        return self._read_all()

    def get(self, id: str) -> Run:
        """One run. InputError if there is none of that id."""
        self._folder(id)
        found = {run.id: run for run in self.list()}
        if id not in found:
            raise InputError(DAMAGED.format(id))
        return found[id]

    def stop(self, id: str) -> Run:
        """Ask a run to end after the current step (SIGTERM); one in the queue leaves it. No harm if it has ended."""
        with self._locked():
            run = self._settle(self._read(id))
            if run.state == "queued":
                self._write(run, replace(run.status, name="stopped", ended=time.time()))
            elif run.state == "running":
                self._write(run, replace(run.status, name="stopping", stop_asked=time.time()))
                if run.status.process:
                    run.status.process.signal_group(signal.SIGTERM)
        return self.get(id)

    def resume(self, id: str) -> Run:
        """Queue a run that ended early again: same folder, same command, with `--resume` if it had started."""
        with self._locked():
            run = self._settle(self._read(id))
            self.allow(run.kind)
            if not run.can_resume:
                raise InputError(f"this run is {run.state}; only one that is {_either(RESUMABLE)} can be resumed")
            if problem := self._disk_problem(run.disk, run.output):
                raise InputError(problem)
            (run.folder / "result.json").unlink(missing_ok=True)
            state = State(
                queued=time.time(),
                resume=run.status.resume or run.status.started is not None,
                seconds_before=run.seconds,
                share_before=run.share or 0.0,
            )
            self._write(run, state)
        return self.get(id)

    def delete(self, id: str) -> None:
        """Delete a run's folder; what it trained lies in its output folder and stays. InputError while it runs."""
        with self._locked():
            folder = self._folder(id)
            try:
                active = self._settle(self._read(id)).is_active
            except InputError:  # damaged: deleting is the way out
                active = False
            if active:
                raise InputError("this run is still running; stop it before you delete it")
            # Out of the list first, at once; a kill while the files go leaves nothing that looks like a run.
            os.replace(folder, self.root / f".{id}.deleted")
        with self._tails_lock:
            self._tails.pop(id, None)
        for aside in self.root.glob(".*.deleted"):
            shutil.rmtree(aside, ignore_errors=True)

    def progress(self, id: str, after: int = 0) -> progress.Records:
        """Its progress records but for the first `after`; reads only what is new."""
        path = _progress_path(self._read(id))
        with self._tails_lock:
            tail = self._tails.get(id)
            if tail is None or tail.path != path:
                tail = self._tails[id] = progress.Tail(path)
        return tail.read(max(0, after))

    def log(self, id: str, lines: int = 200) -> str:
        """The end of its log."""
        return progress.last_lines(self._folder(id) / "log.txt", lines)

    def result(self, id: str) -> dict[str, Any] | None:
        """The JSON document of its command; None if it did not get that far."""
        path = self._folder(id) / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def time_left(self, run: Run) -> float | None:
        """Seconds until it ends; None if nobody can say."""
        return run.seconds_left

    def tick(self) -> None:
        """Notice what has ended, kill what was asked to stop too long ago, start what is next on every idle device."""
        with self._locked():
            _children[:] = [child for child in _children if child.poll() is None]
            runs = [self._settle(run) for run in self._read_all()]
            busy = {run.device for run in runs if run.is_active}
            for run in sorted((r for r in runs if r.state == "queued"), key=_queue_order):
                if run.device not in busy and self._launch(run):
                    busy.add(run.device)

    # Files

    @contextmanager
    def _locked(self, timeout: float | None = None) -> Iterator[None]:
        try:
            self._file_lock.acquire(timeout=LOCK_SECONDS if timeout is None else timeout)
        except Timeout:
            raise InputError("another process holds the list of runs and does not answer; try again") from None
        try:
            yield
        finally:
            self._file_lock.release()

    def _folder(self, id: str) -> Path:
        """The folder of a run; InputError if the id is not one, or not one of ours."""
        if not isinstance(id, str) or not ID.fullmatch(id) or not (self.root / id).is_dir():
            raise InputError(f"no run '{str(id)[:60]}'; the list of runs shows the ids")
        return self.root / id

    def _read(self, id: str) -> Run:
        folder = self._folder(id)
        try:
            asked = json.loads((folder / "run.json").read_text(encoding="ascii"))
            asked |= {"arguments": tuple(asked["arguments"]), "command": tuple(asked["command"])}
            run = Run(id=id, folder=folder, status=_read_state(folder), **asked)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(DAMAGED.format(id)) from error
        return replace(run, record=progress.latest(_progress_path(run)))

    def _read_all(self) -> Listing:
        """All readable runs, newest first."""
        runs = []
        for path in self.root.iterdir():
            try:
                runs.append(self._read(path.name))
            except InputError:  # not a run, deleted meanwhile, or damaged, which `get` and `delete` tell
                continue
        runs.sort(key=lambda run: (run.created, run.id), reverse=True)
        return [replace(run, waiting_for=_before(run, runs)) if run.state == "queued" else run for run in runs]

    def _write(self, run: Run, state: State) -> Run:
        _write_json(run.folder / "state.json", asdict(state))
        return replace(run, status=state)

    def _disk_problem(self, needed: int, output: str | Path | None) -> str:
        """What is wrong with the free space of the disks that a run writes to; empty if nothing is."""
        for what, folder in (("the folder of the runs", self.root), ("the output folder", output)):
            free = shutil.disk_usage(_existing(Path(folder))).free if folder else needed
            if free < needed:
                return f"a run needs {_size(needed)} of free disk space, but the disk of {what} has {_size(free)} left"
        return ""

    # The life of a run; all of these are called under the lock

    def _launch(self, run: Run) -> bool:
        """Start the supervisor of a run; False if it cannot be."""
        error = self._disk_problem(run.disk, run.output)
        if not error:
            arguments = [sys.executable, "-m", "explorer.jobs", str(self.root), run.id, str(self.grace)]
            try:
                with (run.folder / "log.txt").open("ab") as log:
                    child = subprocess.Popen(arguments, cwd=PROJECT, **_apart(log, log))
            except OSError as problem:
                error = f"its process could not be started ({problem.strerror})"
        if error:
            self._write(run, replace(run.status, name="failed", ended=time.time(), error=error + "."))
            return False
        _children.append(child)
        # The supervisor waits for the lock and goes on only if it finds itself here. Killed before this line, we leave
        # a supervisor that ends at once and a run that is still queued.
        self._write(run, replace(run.status, name="running", started=time.time(), supervisor=Process.of(child.pid)))
        return True

    def _settle(self, run: Run) -> Run:
        """Bring the state of a run up to date with its processes."""
        if not run.is_active:
            return run
        self._kill_if_late(run.status)
        if any(p is not None and p.alive for p in (run.status.supervisor, run.status.process)):
            return run  # also without its supervisor: the command goes on, only its exit code will not be known
        return self._conclude(run, None, max(_last_sign(run), run.status.started or 0.0))

    def _kill_if_late(self, state: State) -> None:
        """SIGKILL for what was asked to stop and has not within the grace period."""
        asked = state.stop_asked
        if state.name == "stopping" and asked is not None and time.time() - asked > self.grace and state.process:
            state.process.signal_group(signal.SIGKILL)

    def _conclude(self, run: Run, exit_code: int | None, ended: float) -> Run:
        """Write down how a run ended. `exit_code`: negative for a signal, None if nobody was there to see it."""
        document = _take_result(run.folder)
        name, error = verdict(run.state, exit_code, document, progress.last_lines(run.folder / "log.txt", 20))
        return self._write(run, replace(run.status, name=name, error=error, exit_code=exit_code, ended=ended))

    def _spawn(self, run: Run) -> subprocess.Popen[bytes] | None:
        """Start the command of a run; None, and the run has failed, if it cannot be."""
        progress.end_half_line(run.folder / progress.FILE_NAME)

        def sign_in() -> None:
            # Runs in the child before it becomes the command: whatever happens to the supervisor, the run is known.
            self._write(run, replace(run.status, process=Process.of(os.getpid())))

        try:
            with (run.folder / "log.txt").open("ab") as log, (run.folder / STDOUT).open("wb") as stdout:
                shown = shlex.join([Path(run.argv[0]).name, *run.argv[1:]])
                log.write(f"$ {shown}\n".encode("utf-8", "replace"))
                log.flush()
                environment = {progress.RUN_VARIABLE: str(run.folder), "PYTHONUNBUFFERED": "1"}
                return subprocess.Popen(run.argv, cwd=run.cwd, preexec_fn=sign_in, **_apart(stdout, log, environment))
        except (OSError, subprocess.SubprocessError) as problem:
            error = f"its command could not be started ({problem})."
            self._write(run, replace(run.status, name="failed", ended=time.time(), error=error))
            return None

    def supervise(self, id: str) -> None:
        """Start the command of run `id`, wait, write down how it ended, start the next. A process does nothing else."""
        with self._locked(timeout=-1):
            run = self._read(id)
            if run.status.supervisor is None or run.status.supervisor.pid != os.getpid():
                return  # whoever started us died before writing it down, and another took over
            if run.state == "stopping":
                self._conclude(run, None, time.time())
            child = self._spawn(run) if run.state == "running" else None
        if child:
            code = self._wait(run.folder, child)
            with self._locked(timeout=-1), suppress(InputError):  # somebody removed the folder by hand
                self._conclude(self._read(id), code, time.time())
        self.tick()

    def _wait(self, folder: Path, child: subprocess.Popen[bytes]) -> int:
        """Wait for the command; its exit code. Kills it when it stops too slowly, and what it leaves behind."""
        while (code := child.poll()) is None:
            time.sleep(POLL)
            with suppress(OSError, ValueError):  # somebody removed or damaged the folder: the command goes on
                self._kill_if_late(_read_state(folder))
        signal_group(child.pid, signal.SIGKILL)
        return code


def _checked(kind: str, arguments: Sequence[str], title: str, device: str) -> dict[str, Any]:
    """What a run was asked to be, checked, as run.json has it."""
    if kind not in KINDS:
        raise InputError(f"no kind of run '{kind}'; valid: {', '.join(KINDS)}")
    if not isinstance(device, str) or not DEVICE.fullmatch(device):
        raise InputError(f"a run cannot use the device '{device}'; valid: cpu, cuda, cuda:N, mps")
    device = "cuda:0" if device == "cuda" else device  # one name a device: it names the queue
    if isinstance(arguments, str) or not all(isinstance(a, str) and "\0" not in a for a in arguments):
        raise InputError("the arguments of a run must be a list of texts without null characters")
    if option(arguments, "--device") is None:
        arguments = [*arguments, "--device", device]
    title = " ".join(str(title).encode("utf-8", "replace").decode("utf-8").split())[:TITLE_LENGTH]
    return {"kind": kind, "arguments": list(arguments), "title": title or kind, "device": device}


def _take_result(folder: Path) -> dict[str, Any] | None:
    """Standard output becomes result.json if it is a JSON object; otherwise it goes to the log."""
    raw = folder / STDOUT
    if not raw.exists():
        return None
    text = raw.read_bytes()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        _write_json(folder / "result.json", document)
    elif text:
        with (folder / "log.txt").open("ab") as log:
            log.write(text)
    raw.unlink()
    return document if isinstance(document, dict) else None


def _progress_path(run: Run) -> Path:
    """Where the run writes its progress: its own folder, or, if it does not know of it, its output folder."""
    own = run.folder / progress.FILE_NAME
    if own.exists() or run.output is None:
        return own
    other = run.output / progress.FILE_NAME
    try:
        # An older file is another run's, which had the same output folder.
        return other if other.stat().st_mtime >= run.created else own
    except OSError:
        return own


def _last_sign(run: Run) -> float:
    """When a run that vanished was last seen to write something."""
    paths = [run.folder / "log.txt", _progress_path(run)]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def _queue_order(run: Run) -> tuple[float, str]:
    return run.status.queued, run.id


def _before(run: Run, runs: Sequence[Run]) -> int:
    """How many runs come before a queued one on its device."""
    same = [other for other in runs if other.device == run.device]
    queued = [other for other in same if other.state == "queued" and _queue_order(other) < _queue_order(run)]
    return len(queued) + sum(other.is_active for other in same)


def _read_state(folder: Path) -> State:
    return State.from_json(json.loads((folder / "state.json").read_text(encoding="ascii")))


def _write_json(path: Path, document: dict[str, Any]) -> None:
    with store.whole_file(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1), encoding="ascii")


def _existing(path: Path) -> Path:
    """The path or the nearest folder above it that exists."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _size(count: int) -> str:
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / 10**6:.0f} MB"


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _apart(stdout: Any, stderr: Any, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Options of a process that outlives us: no terminal, no pipe to us, a session and so a group of its own."""
    path = os.environ.get("PYTHONPATH", "")
    if str(PROJECT) not in path.split(os.pathsep):
        path = os.pathsep.join([str(PROJECT), *([path] if path else [])])
    return {
        "stdin": subprocess.DEVNULL,
        "stdout": stdout,
        "stderr": stderr,
        "start_new_session": True,
        "env": {**os.environ, "PYTHONPATH": path, **(environment or {})},
    }


def main(root: str, id: str, grace: str) -> None:
    """The supervisor of one run."""
    # A handler that does nothing instead of SIG_IGN, which the command would inherit. At a shutdown everyone gets
    # SIGTERM: the command writes its checkpoint, and we must be there to see it end.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    Runs(root, grace=float(grace)).supervise(id)


if __name__ == "__main__":
    main(*sys.argv[1:])
