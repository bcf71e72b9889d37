"""Background runs: they survive whoever started them, and two who look at them see the same.

The runs here are a tiny script in place of our command line; supervisors, signals and locks are the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from conftest import ROOT

from explorer import jobs, progress
from explorer.__main__ import main
from explorer.errors import InputError
from explorer.jobs import Runs
from explorer.processes import Process
from explorer.run import Run, State, duration, option, percent, verdict

# What a run is asked to do stands in its arguments; it waits for files, so that no test depends on how fast it is.
FAKE = """
import json, os, pathlib, signal, sys, time
kind, *arguments = sys.argv[1:]
asked = dict(a[2:].split("=", 1) for a in arguments if "=" in a)
folder = pathlib.Path(os.environ["POOLING_EXPLORER_RUN"])
def stop(*_):
    if "stubborn" not in asked:
        print(json.dumps({"stopped": True}))
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
with open(folder / "progress.jsonl", "a") as file:
    file.write(json.dumps({"step": 1 + ("--resume" in arguments), "steps": 4, "loss": 0.5}) + "\\n")
print("a word of", asked.get("say", "progress"), file=sys.stderr, flush=True)
if "wait" in asked:
    while not os.path.exists(asked["wait"]):
        time.sleep(0.01)
if asked.get("print"):
    print(asked["print"])
else:
    print(json.dumps({"kind": kind, "arguments": arguments, "pid": os.getpid(), "cwd": os.getcwd()}))
sys.exit(int(asked.get("exit", 0)))
"""

BARE = """
import json, pathlib, os, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from explorer.jobs import Runs
runs = Runs(sys.argv[2], command=json.loads(sys.argv[3]))
print(runs.start(sys.argv[4], json.loads(sys.argv[5]), "From elsewhere").id, flush=True)
time.sleep(60)
"""


PARENT = """
import json, subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print(json.dumps({"child": child.pid}))
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return [sys.executable, "-S", "-E", str(script)]


@pytest.fixture
def root(tmp_path):
    """A folder of runs; whatever still runs at the end of the test is killed."""
    path = tmp_path / "runs"
    yield path
    for run in Runs(path)._read_all():
        with suppress(InputError):
            Runs(path).stop(run.id)
    for run in Runs(path)._read_all():
        for process in (run.status.process, run.status.supervisor):
            if process:
                process.signal_group(signal.SIGKILL)


@pytest.fixture
def runs(root, command):
    return Runs(root, command=command)


@pytest.fixture
def gate(tmp_path):
    """A file that a run with `--wait=` it waits for; touch it to let the run end."""
    return tmp_path / "gate"


def until(condition, seconds: float = 30.0):
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.03)
    pytest.fail("waited in vain")
    return None


def ended(runs: Runs, id: str) -> Run:
    return until(lambda: (run := runs.get(id)).is_over and run)


def under_way(runs: Runs, id: str) -> Run:
    """The run, once it has said its first word: from then on it handles signals."""
    return until(lambda: (run := runs.get(id)).state == "running" and "a word of" in runs.log(id) and run)


def waiting(runs: Runs, gate, *more: str, **options) -> Run:
    return runs.start("train", [f"--wait={gate}", *more], "Waits", **options)


def dead(process: Process | None) -> bool:
    assert process
    return not process.alive


# From start to end


def test_a_run_from_start_to_finish(runs, root):
    started = runs.start("train", ["--design", "mean-causal"], " My\n first ", device="cpu")
    assert started.state == "running"
    assert started.is_active
    run = ended(runs, started.id)
    assert (run.state, run.status.exit_code, run.share, run.title) == ("finished", 0, 1.0, "My first")
    assert run.sentence.startswith("Finished after ")
    assert 0 <= run.seconds < 15
    result = runs.result(run.id)
    assert result == {
        "kind": "train",
        "arguments": ["--design", "mean-causal", "--device", "cpu", "--json"],
        "pid": run.status.process.pid,
        "cwd": os.getcwd(),
    }
    assert runs.log(run.id).split("\n")[0].endswith("train --design mean-causal --device cpu --json")
    assert runs.log(run.id, lines=1) == "a word of progress"
    assert runs.progress(run.id) == [{"step": 1, "steps": 4, "loss": 0.5}]
    assert {path.name for path in (root / run.id).iterdir()} == {
        "run.json", "state.json", "progress.jsonl", "log.txt", "result.json"
    }  # fmt: skip
    runs.delete(run.id)
    assert runs.list() == []
    assert [path.name for path in root.iterdir()] == [".lock"]


def test_the_run_is_a_session_of_its_own_without_terminal_or_pipes(runs, gate):
    run = under_way(runs, waiting(runs, gate).id)
    pids = [run.status.supervisor.pid, run.status.process.pid]
    assert [os.getsid(pid) for pid in pids] == pids
    if os.path.isdir("/proc/self/fd"):
        opened = {os.readlink(f"/proc/{pids[1]}/fd/{fd}").rpartition("/")[2] for fd in (0, 1, 2)}
        assert opened == {"null", ".stdout", "log.txt"}


def test_the_queue_is_one_at_a_time_for_each_device_in_order(runs, gate):
    first, second, third = (waiting(runs, gate, f"--say={i}") for i in range(3))
    other = runs.start("evaluate", [], "On the GPU", device="cuda")
    assert [run.id for run in runs.list()] == [other.id, third.id, second.id, first.id]
    assert [runs.get(r.id).state for r in (first, second, third)] == ["running", "queued", "queued"]
    assert runs.get(second.id).sentence == "Waiting for the run before it on cpu."
    assert runs.get(third.id).sentence == "Waiting for 2 runs before it on cpu."
    assert ended(runs, other.id).device == "cuda:0"
    assert "cuda:0" in runs.result(other.id)["arguments"]
    gate.touch()
    assert ended(runs, third.id).state == "finished"
    spans = [(runs.get(r.id).status.started, runs.get(r.id).status.ended) for r in (first, second, third)]
    assert spans == sorted(spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_the_queue_moves_on_with_nobody_looking(runs, root, gate):
    waiting(runs, gate)
    second = runs.start("train", [], "Second")
    gate.touch()
    state = root / second.id / "state.json"
    until(lambda: json.loads(state.read_text())["name"] == "finished")


def test_a_run_that_fails_says_why(runs):
    for arguments, code, sentence in (
        (["--exit=2", "--print= "], 2, " at 25 % (exit code 2): a word of progress."),
        (["--print=no document"], 0, "(exit code 0): the command ended without its result."),
        (["--print=[1]"], 0, "the command ended without its result."),
    ):
        run = ended(runs, runs.start("train", arguments, "Fails").id)
        assert (run.state, run.status.exit_code) == ("failed", code)
        assert run.sentence.startswith("Failed after ")
        assert run.sentence.endswith(sentence)
        assert runs.result(run.id) is None
    assert "[1]" in runs.log(run.id), "what is no result is not lost"


def test_a_command_that_cannot_be_started_fails(root, tmp_path):
    runs = Runs(root, command=[str(tmp_path / "no such program")])
    run = ended(runs, runs.start("train", [], "Nothing").id)
    assert run.state == "failed"
    assert "could not be started" in run.sentence


# Stop and resume


def test_stop_keeps_what_there_is_and_resume_goes_on(runs, gate):
    run = under_way(runs, waiting(runs, gate).id)
    assert run.share == 0.25
    with pytest.raises(InputError, match="this run is running; only one that is stopped, failed or interrupted can"):
        runs.resume(run.id)
    assert runs.stop(run.id).state in ("stopping", "stopped")
    run = ended(runs, run.id)
    assert (run.state, run.status.exit_code) == ("stopped", 0)
    assert run.sentence.endswith(" at 25 %.")
    assert runs.result(run.id) == {"stopped": True}
    assert runs.stop(run.id).state == "stopped"

    gate.touch()
    again = runs.resume(run.id)
    assert again.is_active
    run = ended(runs, run.id)
    assert run.state == "finished"
    assert runs.result(run.id)["arguments"] == [f"--wait={gate}", "--device", "cpu", "--json", "--resume"]
    assert [record["step"] for record in runs.progress(run.id)] == [1, 2]
    assert runs.log(run.id).count("$ python") == 2
    assert run.seconds > run.status.ended - run.status.started, "the time before it was resumed counts"
    with pytest.raises(InputError, match="this run is finished"):
        runs.resume(run.id)


def test_a_queued_run_is_taken_from_the_queue(runs, gate):
    first, second = waiting(runs, gate), waiting(runs, gate)
    stopped = runs.stop(second.id)
    assert (stopped.state, stopped.status.process) == ("stopped", None)
    assert stopped.sentence == "Taken from the queue before it started."
    runs.resume(second.id)
    gate.touch()
    assert ended(runs, second.id).state == "finished"
    assert "--resume" not in runs.result(second.id)["arguments"], "there is nothing to go on from"
    assert runs.get(first.id).state == "finished"


def test_one_that_does_not_stop_is_killed_after_the_grace_period(root, command, gate):
    runs = Runs(root, command=command, grace=0.3)
    run = under_way(runs, waiting(runs, gate, "--stubborn=1").id)
    assert runs.stop(run.id).sentence == "Stopping: the current step is finished first."
    run = ended(runs, run.id)
    assert (run.state, run.status.exit_code) == ("stopped", -9)
    assert "was killed" in run.sentence


def test_stopped_before_the_supervisor_got_to_start_it(runs, gate):
    launch = runs._launch

    def launch_and_stop(run):
        """Under the lock, which the supervisor waits for."""
        assert launch(run)
        launched = runs._read(run.id)
        runs._write(launched, replace(launched.status, name="stopping", stop_asked=time.time()))
        return True

    runs._launch = launch_and_stop
    run = ended(runs, waiting(runs, gate).id)
    assert (run.state, run.status.process) == ("stopped", None)
    assert runs.log(run.id) == ""


# Whoever dies


def test_kill_9_of_the_run(runs, gate):
    run = under_way(runs, waiting(runs, gate).id)
    os.kill(run.status.process.pid, signal.SIGKILL)
    run = ended(runs, run.id)
    assert (run.state, run.status.exit_code, run.can_resume) == ("interrupted", -9, True)
    assert "something else ended it (SIGKILL, perhaps for want of memory). It can be resumed." in run.sentence
    gate.touch()
    runs.resume(run.id)
    assert ended(runs, run.id).state == "finished"


def test_at_a_shutdown_the_supervisor_sees_the_run_end(runs, gate):
    run = under_way(runs, waiting(runs, gate).id)
    for process in (run.status.supervisor, run.status.process):
        os.kill(process.pid, signal.SIGTERM)
    run = ended(runs, run.id)
    assert (run.state, run.status.exit_code, runs.result(run.id)) == ("stopped", 0, {"stopped": True})


def test_kill_9_of_the_supervisor_leaves_the_run_running(runs, gate):
    run = under_way(runs, waiting(runs, gate).id)
    os.kill(run.status.supervisor.pid, signal.SIGKILL)
    until(lambda: dead(run.status.supervisor))
    assert runs.get(run.id).state == "running"
    assert waiting(runs, gate).state == "queued", "the device is still in use"
    with pytest.raises(InputError, match="still running; stop it before you delete it"):
        runs.delete(run.id)
    gate.touch()
    run = ended(runs, run.id)
    assert (run.state, run.status.exit_code) == ("finished", None)
    assert runs.result(run.id)["pid"] == run.status.process.pid


def test_an_orphan_can_be_stopped_also_when_it_is_stubborn(root, command, gate):
    runs = Runs(root, command=command, grace=0.2)
    run = under_way(runs, waiting(runs, gate, "--stubborn=1").id)
    os.kill(run.status.supervisor.pid, signal.SIGKILL)
    until(lambda: dead(run.status.supervisor))
    assert runs.stop(run.id).state == "stopping"
    assert ended(runs, run.id).state == "stopped"
    assert dead(run.status.process)


def test_kill_9_of_both_is_an_interruption_that_can_be_resumed(runs, gate):
    run = under_way(runs, waiting(runs, gate).id)
    for process in (run.status.supervisor, run.status.process):
        os.kill(process.pid, signal.SIGKILL)
        until(lambda process=process: dead(process))
    run = runs.get(run.id)
    assert (run.state, run.status.exit_code) == ("interrupted", None)
    assert "at 25 %: its process vanished, as it does when the machine restarts. It can be resumed." in run.sentence
    assert run.status.ended <= time.time()
    gate.touch()
    runs.resume(run.id)
    assert ended(runs, run.id).state == "finished"


def test_kill_9_of_the_app_and_another_takes_over(root, command, runs, gate):
    where = json.dumps([str(ROOT)])
    asked = json.dumps([f"--wait={gate}"])
    app = subprocess.Popen(
        [sys.executable, "-c", BARE, where, str(root), json.dumps(command), "study", asked],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with app:
        id = app.stdout.readline().strip()
        run = under_way(runs, id)
        assert run.title == "From elsewhere"
        os.killpg(app.pid, signal.SIGKILL)
    assert runs.get(id).state == "running"
    gate.touch()
    run = ended(runs, id)
    assert (run.state, run.status.exit_code) == ("finished", 0), "its exit code is not lost"


def test_a_recycled_pid_is_not_taken_for_the_run(runs, root, gate):
    run = under_way(runs, waiting(runs, gate).id)
    gate.touch()
    run = ended(runs, run.id)
    # As after a restart of the machine: the state says "running", and its numbers belong to somebody else: to us.
    state = json.loads((root / run.id / "state.json").read_text())
    somebody = {"pid": os.getpid(), "mark": "another boot/1"}
    state |= {"name": "running", "ended": None, "supervisor": somebody, "process": somebody}
    (root / run.id / "state.json").write_text(json.dumps(state))
    (root / run.id / "result.json").unlink()
    assert runs.stop(run.id).state == "interrupted", "and nobody was sent a signal"
    assert Process.of(os.getpid()).alive


def test_a_zombie_is_not_alive():
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(child.pid)
    assert process.alive
    child.stdin.close()
    until(lambda: not process.alive)
    assert child.poll() is not None


def test_children_that_a_run_leaves_behind_are_ended(root, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    runs = Runs(root, command=[sys.executable, "-S", str(script)])
    run = ended(runs, runs.start("train", [], "Parent").id)
    assert run.state == "finished"
    until(lambda: not Process.of(runs.result(run.id)["child"]).alive)


def test_a_supervisor_that_nobody_wrote_down_does_nothing(runs, root, gate):
    """The app was killed between starting it and writing its number: the run is still queued, another will start it."""
    first, second = waiting(runs, gate), waiting(runs, gate)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "explorer.jobs", str(root), second.id, "1"]
    subprocess.run(arguments, env=environment, check=True, timeout=20)
    assert [runs.get(r.id).state for r in (first, second)] == ["running", "queued"]


# Two who look


def test_two_look_at_the_same_runs(runs, root, command, gate):
    other = Runs(root, command=command)
    run = waiting(runs, gate)
    second = waiting(other, gate)
    assert [r.id for r in other.list()] == [r.id for r in runs.list()] == [second.id, run.id]
    under_way(other, run.id)
    other.stop(run.id)
    assert ended(runs, run.id).state == "stopped"
    other.delete(run.id)
    assert [r.id for r in runs.list()] == [second.id]


def test_many_tick_at_once_and_each_run_runs_once(root, command):
    several = [Runs(root, command=command) for _ in range(4)]
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda r=r: ids.append(r.start("train", ["--say=once"], "Many").id)) for r in several
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for id in ids:
        assert ended(several[0], id).state == "finished"
        assert several[1].log(id).count("a word of once") == 1
        assert len(several[2].progress(id)) == 1


def test_a_lock_that_is_not_given_back_is_told(runs, root, monkeypatch):
    monkeypatch.setattr(jobs, "LOCK_SECONDS", 0.1)
    with Runs(root)._locked(), pytest.raises(InputError, match="another process holds the list of runs"):
        runs.tick()


# Progress and log


def test_progress_reads_on_where_it_was_and_waits_for_whole_lines(runs, root):
    run = ended(runs, runs.start("train", [], "Progress").id)
    path = root / run.id / "progress.jsonl"
    with path.open("a") as file:
        file.write('{"step": 2, "steps": 4}\nnonsense\n[1]\n{"step": 3, "st')
        file.flush()
        assert [r["step"] for r in runs.progress(run.id)] == [1, 2]
        assert [r["step"] for r in runs.progress(run.id, after=1)] == [2]
        assert runs.progress(run.id, after=2) == []
        file.write('eps": 4}\n')
        file.flush()
        assert runs.progress(run.id, after=2) == [{"step": 3, "steps": 4}]
    assert [r["step"] for r in Runs(root).progress(run.id)] == [1, 2, 3]
    path.write_text('{"step": 1}\n')
    assert runs.progress(run.id) == [{"step": 1}], "a resumed run may take records back"
    path.unlink()
    assert runs.progress(run.id) == []


def test_a_half_written_line_does_not_swallow_the_next(runs, root):
    run = ended(runs, runs.start("train", ["--exit=1"], "Killed while writing").id)
    with (root / run.id / "progress.jsonl").open("a") as file:
        file.write('{"step": 9, "st')
    assert runs.get(run.id).share == 0.25
    runs.resume(run.id)
    ended(runs, run.id)
    assert [r["step"] for r in runs.progress(run.id)] == [1, 2]


def test_progress_in_the_output_folder_counts_unless_it_is_older(runs, root, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "progress.jsonl").write_text('{"step": 3, "steps": 4}\n')
    os.utime(output / "progress.jsonl", (1, 1))
    run = ended(runs, runs.start("train", ["--exit=1", "--output", str(output)], "Output").id)
    (root / run.id / "progress.jsonl").unlink()
    assert runs.progress(run.id) == []
    assert runs.get(run.id).share is None
    os.utime(output / "progress.jsonl")
    assert runs.progress(run.id) == [{"step": 3, "steps": 4}]
    assert runs.get(run.id).share == 0.75


def test_report_writes_where_the_run_is(tmp_path, monkeypatch):
    monkeypatch.delenv(progress.RUN_VARIABLE, raising=False)
    progress.report({"step": 1}, tmp_path / "output")
    monkeypatch.setenv(progress.RUN_VARIABLE, str(tmp_path / "run"))
    progress.report({"step": 2, "time": 7.0}, tmp_path / "output")
    (tmp_path / "run" / "progress.jsonl").open("a").write('{"half')
    progress.report({"step": 3, "time": 8.0}, tmp_path / "output")
    (record,) = progress.Tail(tmp_path / "output" / "progress.jsonl").read()
    assert record["step"] == 1
    assert abs(record["time"] - time.time()) < 60
    assert [r["step"] for r in progress.Tail(tmp_path / "run" / "progress.jsonl").read()] == [2, 3]


@pytest.mark.parametrize(
    ("record", "share"),
    [
        ({"step": 1, "steps": 4}, 0.25),
        ({"done": 3, "total": 4}, 0.75),
        ({"share": 0.5, "step": 1, "steps": 4}, 0.5),
        ({"step": 9, "steps": 4}, 1.0),
        ({"step": 9}, None),
        ({"step": 0, "steps": 0}, None),
        ({"step": "1", "steps": 4}, None),
        ({"share": float("nan")}, None),
        ({"share": True}, None),
    ],
)
def test_share_of_a_record(record, share):
    assert progress.share(record) == share


def test_the_log_is_what_a_terminal_would_show(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\r\n\x1b[31mred\x1b[0m\n 10%\r 50%\r 99%\r\n\xff\nlast\n" + b"\r" + b"x" * 70_000 + b"\rdone")
    assert progress.last_lines(log, 3).split("\n")[-1] == "done"
    log.write_bytes(b"one\r\n\x1b[31mred\x1b[0m\n 10%\r 50%\r 99%\r\n\xff\nlast\n")
    assert progress.last_lines(log, 100) == "one\nred\n 99%\n\ufffd\nlast"
    assert progress.last_lines(log, 1) == "last"
    assert progress.last_lines(tmp_path / "nothing", 5) == ""


# Words and numbers


def a_run(root, record=None, **state) -> Run:
    return Run("id", root, "train", (), "T", "cpu", (), ".", 0.0, 0, State(**state), record or {})


def test_time_left(runs, root):
    now = time.time()
    record = {"step": 1, "steps": 4, "seconds_left": 100.0, "time": now - 10}
    said = a_run(root, record, name="running", started=now - 50)
    assert runs.time_left(said) == pytest.approx(90, abs=1)
    assert said.sentence == "Running for 50 s, 25 % done, about 1 min 30 s left."
    silent = a_run(root, {"step": 1, "steps": 4, "time": now}, name="running", started=now - 50)
    assert runs.time_left(silent) == pytest.approx(150, abs=1)
    resumed = a_run(root, {"step": 3, "steps": 4, "time": now}, name="running", started=now - 50, share_before=0.5)
    assert runs.time_left(resumed) == pytest.approx(50, abs=1)
    before = a_run(root, {"step": 2, "steps": 4, "seconds_left": 9, "time": now - 99}, name="running", started=now - 5)
    assert runs.time_left(before) is None, "that was before it was resumed"
    assert runs.time_left(a_run(root, name="running", started=now)) is None
    assert runs.time_left(a_run(root, {"share": 1.0}, name="finished", started=now, ended=now)) is None


@pytest.mark.parametrize(
    ("before", "code", "document", "state"),
    [
        ("running", 0, {}, "finished"),
        ("running", 0, None, "failed"),
        ("running", 0, {"stopped": True}, "stopped"),
        ("running", 1, {}, "failed"),
        ("running", 2, None, "failed"),
        ("running", -15, None, "interrupted"),
        ("running", 143, None, "interrupted"),
        ("running", -11, None, "failed"),
        ("running", -64, None, "interrupted"),
        ("running", None, {}, "finished"),
        ("running", None, None, "interrupted"),
        ("stopping", 0, {}, "stopped"),
        ("stopping", 0, None, "stopped"),
        ("stopping", 0, {"stopped": False}, "finished"),
        ("stopping", -15, None, "stopped"),
        ("stopping", 130, None, "stopped"),
        ("stopping", None, None, "stopped"),
        ("stopping", 1, None, "failed"),
    ],
)
def test_how_a_run_ended(before, code, document, state):
    assert verdict(before, code, document, "one\nthe reason\n")[0] == state


def test_durations_percentages_options():
    words = {0.4: "0 s", 59.6: "1 min", 61: "1 min 1 s", 3600: "1 h", 7800: "2 h 10 min", 97200: "1 d 3 h"}
    assert {s: duration(s) for s in words} == words
    assert [percent(x) for x in (0, 0.434, 0.999, 1.0)] == ["0 %", "43 %", "99 %", "100 %"]
    assert option(["--output", "a", "--output=b"], "--output") == "b"
    assert option(["--output"], "--output") is None


# What is refused


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"kind": "rm"}, "no kind of run 'rm'; valid: train, evaluate, study"),
        ({"device": "auto"}, "cannot use the device 'auto'; valid: cpu, cuda, cuda:N, mps"),
        ({"device": "cpu\n"}, "cannot use the device"),
        ({"arguments": ["a\0b"]}, "texts without null characters"),
        ({"arguments": "--design x"}, "a list of texts"),
        ({"arguments": [1]}, "a list of texts"),
    ],
)
def test_a_start_that_cannot_be(runs, asked, sentence):
    with pytest.raises(InputError, match=sentence):
        runs.start(**{"kind": "train", "arguments": [], "title": "T", **asked})
    assert runs.list() == []


def test_titles_are_any_text(runs, gate):
    title = "<b>&\u202e\ud800 ../../x " + "y" * 500
    run = waiting(runs, gate)
    run = runs.start("train", [], title)
    assert run.title == ("<b>&\u202e? ../../x " + "y" * 500)[:200]
    assert runs.start("study", [], " \n").title == "study"
    json.dumps([run.to_json() for run in runs.list()], allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "id", ["", ".", "..", "../runs", "20250101-120000-00000000", "20250101-120000-0000000g", "x/y", 7]
)
def test_ids_are_checked(runs, root, id):
    (root / "20250101-120000-0000000g").mkdir()
    for method in (runs.get, runs.stop, runs.resume, runs.delete, runs.progress, runs.log, runs.result):
        with pytest.raises(InputError, match="no run '"):
            method(id)
    assert root.is_dir()


def test_a_link_out_of_the_folder_is_not_followed_by_delete(runs, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (root / "20250101-120000-00000000").symlink_to(outside)
    runs.delete("20250101-120000-00000000")
    assert (outside / "precious").exists()


def test_damaged_runs_are_told_and_can_be_deleted(runs, root):
    run = ended(runs, runs.start("train", [], "Good").id)
    good = (root / run.id / "state.json").read_text()
    for damage in ("", "{", "[]", '{"name": "dancing"}', "{}", '{"name": "queued", "colour": 1}', "\x00\xff"):
        (root / run.id / "state.json").write_text(damage, encoding="latin-1")
        assert runs.list() == []
        with pytest.raises(InputError, match="cannot be read; delete the run"):
            runs.get(run.id)
    (root / run.id / "state.json").write_text(good)
    assert runs.get(run.id).state == "finished"
    (root / run.id / "run.json").unlink()
    runs.delete(run.id)
    assert not (root / run.id).exists()


def test_delete_is_refused_while_it_runs(runs, root, gate):
    run = under_way(runs, waiting(runs, gate).id)
    with pytest.raises(InputError, match="still running; stop it before you delete it"):
        runs.delete(run.id)
    queued = waiting(runs, gate)
    runs.delete(queued.id)
    assert [r.id for r in runs.list()] == [run.id]
    gate.touch()
    ended(runs, run.id)


@pytest.fixture
def full(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 123 * 10**6))


def test_a_full_disk_is_told_before_the_start(runs, full):
    sentence = "a run needs 500 MB of free disk space, but the disk of the folder of the runs has 123 MB left"
    with pytest.raises(InputError, match=sentence):
        runs.start("train", ["--output", "out"], "Too big")
    assert runs.list() == []
    assert ended(runs, runs.start("train", [], "Small", disk=10**6).id).state == "finished"


def test_a_disk_that_is_full_when_its_turn_comes(runs, gate, request):
    run = waiting(runs, gate)
    second = waiting(runs, gate)
    request.getfixturevalue("full")
    os.kill(runs.get(run.id).status.supervisor.pid, signal.SIGKILL)  # so that we are the one who starts the next
    gate.touch()
    second = ended(runs, second.id)
    assert second.state == "failed"
    assert second.sentence.startswith("Could not start: a run needs 500 MB")
    with pytest.raises(InputError, match="a run needs 500 MB"):
        runs.resume(second.id)


def test_a_disk_without_room_for_the_state_does_not_hide_the_runs(runs, monkeypatch, caplog):
    run = ended(runs, runs.start("train", [], "There").id)

    def no_space() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "tick", no_space)
    assert [r.id for r in runs.list()] == [run.id]
    assert "No space left" in caplog.text


# The command line


def test_runs_on_the_command_line(home, command, gate, capsys):
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}
    runs = Runs(command=command)
    assert runs.root == (home / "data" / "runs").resolve()
    run = under_way(runs, waiting(runs, gate).id)
    assert main(["runs", "delete", run.id]) == 2
    assert (
        capsys.readouterr().err == "python -m explorer runs: this run is still running; stop it before you delete it\n"
    )
    assert main(["runs", "stop", run.id, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert (told["id"], told["share"]) == (run.id, 0.25)
    ended(runs, run.id)
    gate.touch()
    assert main(["runs", "resume", run.id]) == 0
    ended(runs, run.id)
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.startswith(f"{run.id}  train     Waits: Finished after ")
    assert main(["runs", "delete", run.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}
    for wrong in (["stop"], ["list", run.id], ["stop", "../x"]):
        assert main(["runs", *wrong]) == 2


def test_the_real_command_line_says_what_is_wrong(home):
    runs = Runs()
    run = ended(runs, runs.start("train", ["--no-such-option"], "Misspelt").id)
    assert (run.state, run.status.exit_code) == ("failed", 2)
    assert "python -m explorer" in run.sentence
