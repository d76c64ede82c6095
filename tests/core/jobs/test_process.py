"""A job is started once, outlives its window, is found again and can be ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from studio.core.errors import DiskFull, FileUnusable, JobDied, RunConflict
from studio.core.jobs import process as process_module
from studio.core.jobs.orders import TrainOrder
from studio.core.jobs.process import UNKNOWN_EXIT, JobProcess, attach, start_job
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import ProcessMark, claim, is_alive, read_mark
from studio.core.runs.store import load_order

ORDER = TrainOrder(base_folder="here")

WORKER = """
import subprocess, sys
from pathlib import Path
from studio.core.events.types import JobStarted
from studio.core.events.writer import EventWriter
from studio.core.jobs.control import ControlTail
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import claim
import os, time
layout = RunLayout(Path(sys.argv[1]))
claim(layout)
requests = ControlTail.of_attempt(layout)
print("working", os.environ["OMP_WAIT_POLICY"], flush=True)
if len(sys.argv) > 2:
    forever = "import threading; threading.Event().wait()"
    grandchild = subprocess.Popen([sys.executable, "-c", forever])
with EventWriter(layout.events) as writer:
    writer.write(JobStarted(kind="train", process_id=os.getpid(), attempt=1))
while not requests.read():
    time.sleep(0.01)
sys.exit(7)
"""


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "run")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments that a job is started with: a small worker in place of the real one."""
    arguments = [sys.executable, "-c", WORKER]
    monkeypatch.setattr(
        process_module,
        "build_command",
        lambda folder, _: [*arguments[:3], str(folder), *arguments[3:]],
    )
    return arguments


def _wait_until_started(layout: RunLayout, job: JobProcess) -> None:
    while not layout.events.exists() or not layout.events.read_bytes().endswith(b"\n"):
        assert job.wait(0.01) is None, layout.log.read_text()


def test_a_job_works_in_a_session_of_its_own_and_ends_with_its_code(
    layout: RunLayout, worker: list[str]
) -> None:
    job = start_job(layout, ORDER)
    _wait_until_started(layout, job)
    assert job.poll() is None
    assert is_alive(layout)
    assert load_order(layout) == ORDER
    if os.name != "nt":
        assert os.getsid(job.process_id) == job.process_id
    layout.control.write_text('{"kind":"stop"}\n')
    assert job.wait(60) == 7
    assert job.poll() == 7
    assert not is_alive(layout)
    assert layout.log.read_text() == "working PASSIVE\n"


def test_a_run_is_not_started_twice(layout: RunLayout, worker: list[str]) -> None:
    job = start_job(layout, ORDER)
    try:
        # At once, before the worker has come to claim anything itself.
        with pytest.raises(RunConflict, match=str(job.process_id)):
            start_job(layout, ORDER)
    finally:
        job.kill()
    again = start_job(layout)
    _wait_until_started(layout, again)
    again.kill()
    assert again.poll() is not None


def test_an_earlier_windows_job_is_found_followed_and_ended(
    layout: RunLayout, worker: list[str]
) -> None:
    assert attach(layout) is None
    job = start_job(layout, ORDER)
    _wait_until_started(layout, job)
    found = attach(layout)
    assert found is not None
    assert found.process_id == job.process_id
    assert found.poll() is None
    assert found.wait(0.01) is None
    found.kill()
    assert found.wait(60) == UNKNOWN_EXIT
    assert job.wait(60) not in {None, 0}
    assert attach(layout) is None
    found.kill()  # what has ended is left alone


def test_ending_a_job_ends_its_children(layout: RunLayout, worker: list[str]) -> None:
    worker.append("with a child")
    job = start_job(layout, ORDER)
    _wait_until_started(layout, job)
    (grandchild,) = psutil.Process(job.process_id).children()
    job.kill()
    assert not grandchild.is_running()


def test_a_released_job_goes_on(layout: RunLayout, worker: list[str]) -> None:
    job = start_job(layout, ORDER)
    _wait_until_started(layout, job)
    job.release()
    del job  # would warn about a child that still runs
    found = attach(layout)
    assert found is not None
    found.kill()


def test_requests_of_an_earlier_attempt_do_not_reach_the_next(
    layout: RunLayout, worker: list[str]
) -> None:
    layout.folder.mkdir()
    layout.control.write_text('{"kind":"stop"}\n')
    job = start_job(layout, ORDER)
    with layout.control.open("a") as stream:  # pressed before the worker reads anything
        stream.write('{"kind":"stop"}\n')
    assert job.wait(60) == 7
    owner = read_mark(layout.owner)
    assert owner is not None
    assert owner.control_offset == len('{"kind":"stop"}\n')


def test_a_worker_that_ends_at_once_leaves_its_words_in_the_log(
    layout: RunLayout, worker: list[str]
) -> None:
    worker[2] = "raise SystemExit('no such module')"
    job = start_job(layout, ORDER)
    assert job.wait(60) == 1
    assert "no such module" in layout.log.read_text()
    assert not is_alive(layout)


def test_a_polite_job_steps_back_for_programs_in_the_foreground(
    layout: RunLayout, worker: list[str]
) -> None:
    job = start_job(layout, ORDER, is_polite=True)
    priority = psutil.Process(job.process_id).nice()
    job.kill()
    assert priority != psutil.Process().nice()


def test_what_cannot_be_started_is_said_in_words(
    layout: RunLayout, worker: list[str], tmp_path: Path
) -> None:
    worker[0] = str(tmp_path / "no python")
    with pytest.raises(JobDied, match="refused to start"):
        start_job(layout, ORDER)
    assert not is_alive(layout)
    claim(layout)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnusable, match="a file stands"):
        start_job(RunLayout(tmp_path / "file" / "run"), ORDER)


def test_a_job_that_cannot_be_marked_as_ours_is_not_left_running(
    layout: RunLayout, worker: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[ProcessMark] = []

    def refuse(path: Path, mark: ProcessMark) -> None:
        marks.append(mark)
        raise DiskFull("full")

    monkeypatch.setattr(process_module, "write_mark", refuse)
    with pytest.raises(DiskFull):
        start_job(layout, ORDER)
    assert not marks[0].is_alive()


RACER = """
import sys
from pathlib import Path
from studio.core.errors import RunConflict
from studio.core.jobs import process
from studio.core.runs.layout import RunLayout
process.build_command = lambda folder, _: [sys.executable, "-c", "input()", str(folder)]
process.subprocess.DEVNULL = process.subprocess.PIPE
print("ready", flush=True)
input()
try:
    job = process.start_job(RunLayout(Path(sys.argv[1])))
    print("won", flush=True)
    input()
    job.kill()
except RunConflict:
    print("lost", flush=True)
"""


def test_of_two_windows_that_press_start_at_once_one_starts_the_job(layout: RunLayout) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(layout.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    results = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
    for racer in racers:
        racer.communicate("\n")
    assert sorted(results) == ["lost", "lost", "won"]
