"""What must survive is replaced entirely or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studio.core import files
from studio.core.errors import DiskFull, FileUnusable


class _NoSpaceError(OSError):
    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "No space left on device")


def _write_folder_and_fail(target: Path, error: Exception) -> None:
    with files.replace_folder(target) as folder:
        (folder / "a").write_text("new")
        raise error


def test_a_file_is_replaced_and_no_other_name_remains(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    files.write_json_atomically(target, {"step": 1})
    files.write_json_atomically(target, {"step": 2, "name": "Żółw"})
    assert json.loads(target.read_text(encoding="utf-8")) == {"step": 2, "name": "Żółw"}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_failing_writer_leaves_the_old_file_untouched(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    target.write_bytes(b"old")

    def write_half() -> None:
        with files.open_atomically(target) as out:
            out.write(b"half of the new")
            raise _NoSpaceError

    with pytest.raises(DiskFull, match="no space left") as caught:
        write_half()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.remedy
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_that_is_no_file_error_passes_through_unchanged(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        _write_folder_and_fail(tmp_path / "run", KeyError("stop"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "adapter"
    with files.replace_folder(target) as folder:
        (folder / "a").write_text("1")
        (folder / "sub").mkdir()
        (folder / "sub" / "b").write_text("2")
    with files.replace_folder(target) as folder:
        (folder / "a").write_text("3")
        assert (target / "a").read_text() == "1"
    assert [path.name for path in target.iterdir()] == ["a"]
    assert (target / "a").read_text() == "3"
    assert list(target.parent.iterdir()) == [target]


def test_a_failing_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    with files.replace_folder(target) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(DiskFull):
        _write_folder_and_fail(target, _NoSpaceError())
    assert (target / "a").read_text() == "1"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_that_failed_is_the_one_that_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FileUnusable, match=r"tokenizer\.json cannot be"),
        files.replace_folder(tmp_path / "merged"),
    ):
        (tmp_path / "tokenizer.json").read_bytes()


def test_a_killed_writer_leaves_only_what_the_sweep_clears(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    target.mkdir()
    (target / "a").write_text("old")
    program = (
        "import os, pathlib; from studio.core import files\n"
        f"with files.replace_folder(pathlib.Path({str(target)!r})) as folder:\n"
        "    (folder / 'a').write_text('half'); os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    assert len(files.sweep_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "a").read_text() == "old"


def test_a_folder_set_aside_by_a_stopped_machine_gets_its_name_back(tmp_path: Path) -> None:
    aside = files.get_temporary_path(tmp_path / "adapter").with_suffix(".old")
    aside.mkdir()
    (aside / "a").write_text("old")
    (tmp_path / ".keep.tmp").write_text("not ours")
    files.sweep_leftovers(tmp_path)
    assert (tmp_path / "adapter" / "a").read_text() == "old"
    assert (tmp_path / ".keep.tmp").exists()


def test_a_missing_folder_and_a_file_in_its_place_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="does not exist"):
        files.write_atomically(tmp_path / "missing" / "a", "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnusable, match="a file stands where a folder is needed"):
        files.write_atomically(tmp_path / "file" / "a", "1")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "denied"), "no permission"),
        (OSError(errno.EROFS, "read-only"), "read-only"),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (IsADirectoryError(errno.EISDIR, "is a directory"), "a folder stands"),
    ],
)
def test_each_refusal_of_the_system_says_why_and_what_to_do(error: OSError, words: str) -> None:
    told = files.get_file_error(Path("a"), error)
    assert words in told.message
    assert told.remedy


@pytest.mark.parametrize("code", [32, 33, 1224])
def test_a_file_in_use_on_windows_is_not_called_forbidden(code: int) -> None:
    error = PermissionError(errno.EACCES, "in use")
    error.winerror = code  # type: ignore[attr-defined]  # only Windows knows it
    told = files.get_file_error(Path("model.safetensors"), error, "deleted")
    assert "model.safetensors cannot be deleted: another program holds it open." in told.message
    assert told.remedy.startswith("Close the program")


def test_a_path_that_is_too_long_for_windows_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = FileNotFoundError(errno.ENOENT, "no such file")
    monkeypatch.setattr(files, "_LONGEST_PATH", 240)
    assert "longer than Windows" in files.get_file_error(Path("a" * 241), error).message
    assert "does not exist" in files.get_file_error(Path("a" * 240), error).message


def _refuse_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: OSError) -> None:
    real, refusals = getattr(owner, name), [error]

    def work(*arguments: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, work)
    for pauses in ("_PAUSES_SECONDS", "_READING_PAUSES_SECONDS"):
        monkeypatch.setattr(files, pauses, (0.0,))


def test_what_windows_refuses_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = PermissionError(errno.EACCES, "another program holds it open")
    path = tmp_path / "old"
    path.write_bytes(b"1")
    _refuse_once(monkeypatch, Path, "replace", busy)
    path = files.move(path, tmp_path / "new")
    _refuse_once(monkeypatch, Path, "read_bytes", busy)
    assert files.read_shared(path) == b"1"
    _refuse_once(monkeypatch, Path, "unlink", busy)
    files.remove(path)
    (tmp_path / "folder" / "in").mkdir(parents=True)
    _refuse_once(monkeypatch, files.shutil, "rmtree", OSError(errno.ENOTEMPTY, "not empty"))
    files.remove(tmp_path / "folder")
    files.remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_other_refusals_are_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_once(monkeypatch, Path, "read_bytes", FileNotFoundError(errno.ENOENT, "missing"))
    with pytest.raises(FileNotFoundError):
        files.read_shared(tmp_path / "a")
    _refuse_once(monkeypatch, Path, "replace", OSError(errno.EXDEV, "another drive"))
    with pytest.raises(OSError, match="another drive"):
        files.move(tmp_path, tmp_path / "b")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_systems_own_full_device_is_recognised() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="space") as caught:
        os.write(descriptor, b"1")
    os.close(descriptor)
    assert isinstance(files.get_file_error(Path("a"), caught.value), DiskFull)


def test_too_little_space_is_refused_before_writing(tmp_path: Path) -> None:
    files.check_free_space(tmp_path / "not" / "there", 1)
    with pytest.raises(DiskFull, match="GB are needed"):
        files.check_free_space(tmp_path / "not" / "there", 10**18)
