"""Who owns a run, also after process numbers were used again, and what a dead owner means."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from studio.core import files
from studio.core.errors import RunConflict
from studio.core.runs import liveness
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import (
    ProcessMark,
    build_death_failure,
    claim,
    find_mark,
    find_owner,
    is_alive,
    read_mark,
    release,
    status_of,
    write_mark,
)
from studio.core.runs.record import RunRecord
from tests.windows_rules import follow_windows_rules


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def _get_own() -> ProcessMark:
    mark = find_mark(os.getpid())
    assert mark is not None
    return mark


def _run_python(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _read_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_a_claimed_run_is_alive_and_a_released_one_is_not(layout: RunLayout) -> None:
    assert not is_alive(layout)
    mark = claim(layout)
    assert is_alive(layout)
    assert mark.process_id == os.getpid()
    assert claim(layout) == mark  # again by the same process
    release(layout)
    assert not is_alive(layout)


def test_the_own_mark_agrees_with_psutil(layout: RunLayout) -> None:
    assert claim(layout).create_time == psutil.Process().create_time()


@pytest.mark.parametrize(
    "change",
    [{"start_ticks": 1}, {"start_ticks": None, "create_time": 1_000_000_000.0}],
    ids=["by ticks", "by time"],
)
def test_a_process_number_that_was_used_again_is_another_process(
    layout: RunLayout, change: dict[str, object]
) -> None:
    write_mark(layout.owner, _get_own().model_copy(update=change))
    assert not is_alive(layout)
    assert claim(layout) == _get_own()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts ticks")
def test_setting_the_clock_kills_no_process(layout: RunLayout) -> None:
    own = _get_own()
    write_mark(layout.owner, own.model_copy(update={"create_time": own.create_time - 7200}))
    assert is_alive(layout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no ended processes")
def test_a_process_that_ended_is_not_alive_even_before_its_parent_asks(layout: RunLayout) -> None:
    with _run_python("input()") as child:
        mark = find_mark(child.pid)
        assert mark is not None
        write_mark(layout.owner, mark)
        assert is_alive(layout)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(layout)


def test_a_damaged_owner_file_owns_nothing(layout: RunLayout) -> None:
    layout.owner.write_bytes(b'{"process_id": ')
    assert read_mark(layout.owner) is None
    assert not is_alive(layout)


def test_a_process_of_another_machine_is_alive_while_its_journal_grows(layout: RunLayout) -> None:
    write_mark(layout.owner, _get_own().model_copy(update={"host": "elsewhere"}))
    assert is_alive(layout)
    with pytest.raises(RunConflict, match="on elsewhere"):
        claim(layout)
    long_ago = time.time() - 3600
    os.utime(layout.owner, (long_ago, long_ago))
    assert not is_alive(layout)


CLAIMER = """
import sys
from pathlib import Path
from studio.core.errors import RunConflict
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import claim
print("ready", flush=True)
input()
try:
    claim(RunLayout(Path(sys.argv[1])))
    print("won", flush=True)
except RunConflict:
    print("lost", flush=True)
input()
"""


@pytest.mark.parametrize("has_dead_owner", [False, True])
def test_of_many_processes_that_race_for_a_run_exactly_one_wins(
    layout: RunLayout, has_dead_owner: bool
) -> None:
    if has_dead_owner:
        write_mark(layout.owner, _get_own().model_copy(update={"start_ticks": 1, "create_time": 1}))
    children = [_run_python(CLAIMER, str(layout.folder)) for _ in range(4)]
    try:
        assert [_read_line(child) for child in children] == ["ready"] * 4
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        results = [_read_line(child) for child in children]
        assert sorted(results) == ["lost", "lost", "lost", "won"]
        owner = find_owner(layout)
        assert owner is not None
        assert owner.process_id == children[results.index("won")].pid
    finally:
        for child in children:
            child.communicate("\n\n")


def test_a_claim_by_the_parent_on_behalf_of_its_child_is_taken_over(layout: RunLayout) -> None:
    layout.control.write_bytes(b"{}\n" * 4)
    write_mark(layout.owner, _get_own().model_copy(update={"control_offset": 3}))
    child = _run_python(CLAIMER, str(layout.folder))
    assert _read_line(child) == "ready"
    output, _ = child.communicate("\n\n")
    assert output.strip() == "won"
    owner = read_mark(layout.owner)
    assert owner is not None
    assert (owner.process_id, owner.control_offset) == (child.pid, 3)


def test_another_process_can_neither_claim_nor_release_a_living_one(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _run_python("input()") as child:
        mark = find_mark(child.pid)
        assert mark is not None
        write_mark(layout.owner, mark)
        with pytest.raises(RunConflict, match=str(child.pid)):
            claim(layout)
        release(layout)
        assert find_owner(layout) == mark
        child.communicate("\n")


def test_a_run_whose_process_died_says_what_happened_and_what_is_saved(layout: RunLayout) -> None:
    record = RunRecord(
        status="running", step=130, total_steps=300, last_checkpoint_step=120, updated_seconds=9
    )
    dead = status_of(record, layout)
    assert (dead.status, dead.finished_seconds) == ("interrupted", 9)
    assert dead.is_resumable
    assert dead.failure is not None
    assert dead.failure.message == (
        "The training process ended without a word - it was killed or the machine restarted. "
        "120 of 300 steps are saved."
    )
    assert dead.failure.remedy == "Press Resume to go on from there."
    claim(layout)
    assert status_of(record, layout) is record


def test_a_run_that_ended_in_words_keeps_its_state(layout: RunLayout) -> None:
    for status in ("finished", "stopped", "failed"):
        record = RunRecord(status=status)
        assert status_of(record, layout) is record


def test_a_run_that_nobody_started_can_be_started_later(layout: RunLayout) -> None:
    new = RunRecord(created_seconds=time.time())
    assert status_of(new, layout) is new
    old = status_of(RunRecord(created_seconds=time.time() - 3600), layout)
    assert old.status == "interrupted"
    assert old.is_resumable
    assert old.failure is not None
    assert "never started" in old.failure.message


def test_a_run_that_died_while_it_waited_for_the_card_is_interrupted(layout: RunLayout) -> None:
    waiting = RunRecord(attempt=1, queued_behind="other", created_seconds=time.time())
    dead = status_of(waiting, layout)
    assert (dead.status, dead.queued_behind) == ("interrupted", None)
    assert status_of(waiting, layout, was_alive=True) is waiting


def test_a_job_that_died_before_its_first_fact_is_interrupted(layout: RunLayout) -> None:
    write_mark(layout.owner, _get_own().model_copy(update={"start_ticks": 1, "create_time": 1}))
    assert status_of(RunRecord(), layout).status == "interrupted"


@pytest.mark.parametrize(
    ("exit_code", "words"), [(-9, "out of memory"), (-11, "crashed"), (1, "killed")]
)
def test_the_exit_code_tells_more_where_it_is_known(exit_code: int, words: str) -> None:
    failure = build_death_failure(RunRecord(), exit_code)
    assert words in failure.message
    assert "No checkpoint" in failure.message
    assert build_death_failure(RunRecord(kind="chat")).remedy == "Start it again."


def test_a_number_without_process_has_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    with _run_python("pass") as child:
        child.communicate()
    assert find_mark(child.pid) is None

    def refuse(process_id: int) -> psutil.Process:
        raise psutil.AccessDenied(process_id)

    monkeypatch.setattr(liveness.psutil, "Process", refuse)
    assert find_mark(1) is None


def test_a_mark_that_somebody_reads_neither_hides_its_owner_nor_ends_him(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows neither deletes nor replaces what is being read, nor opens what is being replaced."""
    claim(layout)
    monkeypatch.setattr(files, "_READING_PAUSES_SECONDS", (0.0,))
    refusals = [PermissionError(13, "another program holds it open")]
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        if refusals:
            raise refusals.pop()
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert is_alive(layout)
    with layout.owner.open("rb"), monkeypatch.context() as windows:
        follow_windows_rules(windows)
        release(layout)
        assert layout.owner.exists()
    release(layout)
    assert not layout.owner.exists()
