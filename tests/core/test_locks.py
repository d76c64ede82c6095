"""A critical section is free again as soon as its process is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studio.core import locks
from studio.core.errors import FileUnusable, RunConflict
from studio.core.locks import held_exclusively

HOLDER = """
import sys
from pathlib import Path
from studio.core.locks import held_exclusively
with held_exclusively(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_a_section_of_another_process_is_waited_for_and_freed_by_its_death(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"held"
        with pytest.raises(RunConflict, match="locked"), held_exclusively(path, 0.05):
            pass
        child.kill()
    with held_exclusively(path, 5):
        path.write_text("1")


def test_a_failure_in_the_section_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), held_exclusively(tmp_path / "a"):
        raise KeyError
    with held_exclusively(tmp_path / "a", 0):
        pass


def test_a_missing_folder_is_said_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(FileUnusable, match="does not exist"),
        held_exclusively(tmp_path / "a" / "b"),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="the answer of POSIX network drives")
def test_a_drive_without_locks_runs_the_section_unguarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with held_exclusively(tmp_path / "a"):
        pass

    def break_down(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", break_down)
    with pytest.raises(FileUnusable, match="input/output"), held_exclusively(tmp_path / "a"):
        pass
