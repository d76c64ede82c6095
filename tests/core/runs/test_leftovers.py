"""What a killed process left is removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.runs.leftovers import clear_abandoned, replace_marked_folder
from studio.core.runs.liveness import ProcessMark, find_mark

_HEX = "0123456789ab"
_WRITER = """
import os, pathlib, signal, sys
from studio.core.runs.leftovers import replace_marked_folder
with replace_marked_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "model").write_bytes(bytes(100))
    os.abort()
"""


def leave(target: Path) -> None:
    """Lets another process die while it writes ``target``."""
    program = [sys.executable, "-c", _WRITER, str(target)]
    assert subprocess.run(program, capture_output=True, check=False).returncode != 0


def plant(target: Path, mark: ProcessMark | None, token: str = _HEX) -> Path:
    """Writes an unfinished folder by hand; without a mark if None."""
    folder = target.with_name(f".{target.name}.{token}.tmp")
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(b"half")
    if mark is not None:
        folder.with_name(f"{folder.name}.owner").write_text(mark.model_dump_json())
    return folder


@pytest.fixture
def mark() -> ProcessMark:
    """This process."""
    found = find_mark(os.getpid())
    assert found is not None
    return found


@pytest.fixture
def gone(mark: ProcessMark) -> ProcessMark:
    """An earlier process of the same number."""
    ticks = None if mark.start_ticks is None else mark.start_ticks - 500
    changes = {"create_time": mark.create_time - 900, "start_ticks": ticks}
    return mark.model_copy(update=changes)


def test_a_killed_writer_leaves_what_the_next_one_clears(tmp_path: Path) -> None:
    target = tmp_path / "model [q8]"
    leave(target)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2
    assert left[0].startswith(".model [q8].")
    assert [path.name for path in clear_abandoned(target)] == left[:1]
    assert list(tmp_path.iterdir()) == []


def test_no_mark_stays_after_a_writer_that_ends(tmp_path: Path) -> None:
    with replace_marked_folder(tmp_path / "out") as folder:
        (folder / "model").write_bytes(b"whole")
        assert clear_abandoned(tmp_path / "out") == []  # the writer lives: it is this process
        assert len(list(tmp_path.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]


def test_everything_else_stays(tmp_path: Path, mark: ProcessMark, gone: ProcessMark) -> None:
    target = tmp_path / "out"
    elsewhere = gone.model_copy(update={"host": f"not {gone.host}"})
    kept = [
        plant(target, None, "a" * 12),
        plant(target, mark, "b" * 12),
        plant(target, elsewhere, "c" * 12),
        plant(tmp_path / "out-2", gone),
        plant(tmp_path / "another.out", gone),
        plant(target, gone, "not a token!"),
    ]
    (tmp_path / f".out.{'d' * 12}.tmp.owner").write_text("{broken")
    before = sorted(tmp_path.rglob("*"))
    assert clear_abandoned(target) == []
    assert sorted(tmp_path.rglob("*")) == before
    assert all((folder / "model").read_bytes() == b"half" for folder in kept)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_not_followed(tmp_path: Path, gone: ProcessMark) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_bytes(b"mine")
    link = tmp_path / f".out.{_HEX}.tmp"
    link.symlink_to(treasure)
    link.with_name(f"{link.name}.owner").write_text(gone.model_dump_json())
    clear_abandoned(tmp_path / "out")
    assert (treasure / "gold").read_bytes() == b"mine"
    assert link.is_symlink()


def test_a_folder_that_was_set_aside_gets_its_name_back(tmp_path: Path, gone: ProcessMark) -> None:
    target = tmp_path / "out"
    aside = plant(target, gone).with_suffix(".old")
    aside.mkdir()
    (aside / "model").write_bytes(b"old")
    clear_abandoned(target)
    assert (target / "model").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_where_nothing_is_nothing_is_cleared(tmp_path: Path) -> None:
    assert clear_abandoned(tmp_path / "none" / "out") == []
