"""One job at a time holds the graphics card, and a dead one holds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable, RunConflict
from studio.core.jobs import queue
from studio.core.jobs.queue import DeviceLease
from studio.core.paths import Home
from studio.core.runs.liveness import ProcessMark

HOLDER = """
import sys
from pathlib import Path
from studio.core.jobs.queue import DeviceLease
from studio.core.paths import Home
lease = DeviceLease(Home(Path(sys.argv[1])))
print("ready", flush=True)
input()
print("lost" if lease.try_acquire(sys.argv[2]) else "won", flush=True)
input()
lease.release(sys.argv[2])
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def _start_holder(home: Home, run_id: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.folder), run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def _try(child: subprocess.Popen[str]) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def test_the_lease_is_held_for_the_block_and_free_afterwards(home: Home) -> None:
    lease = DeviceLease(home)
    assert lease.find_holder() is None
    with lease.acquire("run-a"):
        holder = lease.find_holder()
        assert holder is not None
        assert holder.run_id == "run-a"
        assert lease.try_acquire("run-a") is None  # its own, again
        assert lease.try_acquire("run-b") == holder
    assert lease.find_holder() is None
    with pytest.raises(KeyError), lease.acquire("run-a"):
        raise KeyError
    assert lease.find_holder() is None


def test_of_processes_that_race_for_the_card_exactly_one_wins(home: Home) -> None:
    children = [_start_holder(home, f"run-{number}") for number in range(3)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    results = [child.stdout.readline().strip() for child in children if child.stdout is not None]
    holder = DeviceLease(home).find_holder()
    assert sorted(results) == ["lost", "lost", "won"]
    assert holder is not None
    assert holder.process_id == children[results.index("won")].pid
    for child in children:
        child.communicate("\n")
    assert DeviceLease(home).find_holder() is None


def test_a_waiting_run_is_told_behind_whom_and_goes_on_when_the_card_is_free(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_PAUSE_SECONDS", 0.001)
    child = _start_holder(home, "first")
    assert _try(child) == "won"
    behind: list[str] = []

    def end_the_first(holder: ProcessMark) -> None:
        behind.append(holder.run_id)
        if len(behind) == 2:
            child.communicate("\n")

    lease = DeviceLease(home)
    with lease.acquire("second", on_wait=end_the_first):
        holder = lease.find_holder()
        assert holder is not None
        assert holder.run_id == "second"
    assert behind == ["first", "first"]


def test_the_lease_of_a_killed_process_is_taken_over(home: Home) -> None:
    child = _start_holder(home, "killed")
    assert _try(child) == "won"
    lease = DeviceLease(home)
    with pytest.raises(RunConflict, match="in use by killed"), lease.acquire("next", 0.0):
        pass
    with child:
        child.kill()
    with lease.acquire("next", 0.0):
        assert lease.find_holder() is not None


def test_a_waiting_run_can_give_up(home: Home) -> None:
    lease = DeviceLease(home)

    def give_up(holder: ProcessMark) -> None:
        raise KeyboardInterrupt

    with (
        lease.acquire("first"),
        pytest.raises(KeyboardInterrupt),
        lease.acquire("second", on_wait=give_up),
    ):
        pass


def test_nobody_gives_back_what_another_run_holds(home: Home) -> None:
    lease = DeviceLease(home)
    with lease.acquire("first"):
        lease.release("second")
        assert lease.find_holder() is not None


def test_a_home_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnusable, match="a file stands"):
        DeviceLease(Home(tmp_path / "file" / "home")).try_acquire("a")
