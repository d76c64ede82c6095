"""One job at a time holds the graphics card, and a dead one holds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.jobs.queue import DeviceLease
from studio.core.paths import Home

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


def test_another_run_is_told_who_has_the_card(home: Home) -> None:
    lease = DeviceLease(home)
    assert lease.find_holder() is None
    assert lease.try_acquire("run-a") is None
    holder = lease.find_holder()
    assert holder is not None
    assert holder.run_id == "run-a"
    assert lease.try_acquire("run-a") is None  # its own, again
    assert lease.try_acquire("run-b") == holder


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


def test_the_lease_of_a_killed_process_is_taken_over(home: Home) -> None:
    child = _start_holder(home, "killed")
    assert _try(child) == "won"
    lease = DeviceLease(home)
    holder = lease.try_acquire("next")
    assert holder is not None
    assert holder.run_id == "killed"
    with child:
        child.kill()
    assert lease.try_acquire("next") is None


def test_a_home_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnusable, match="a file stands"):
        DeviceLease(Home(tmp_path / "file" / "home")).try_acquire("a")
