"""Which files of a folder or an archive belong to a data set."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.engine.data.sources.encoding import unreadable
from studio.engine.data.sources.packed import PACKED_SUFFIXES, inner_name, list_members

_TEXT_KIND = "text"
_COLUMNAR_KINDS = ("parquet", "arrow")
_ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_SPLIT_WORDS = {
    "train": {"train", "training"},
    "validation": {"validation", "valid", "val", "dev"},
    "test": {"test", "testing", "eval", "evaluation"},
}
_MOST_FILES = 200_000

KindOf = Callable[[Path], str | None]


def list_files(path: Path, split: str, kind_of: KindOf) -> list[Path]:
    """Return the files of a source in the order in which they are read.

    A single file is itself. In a folder or a zip archive one kind of table is read, or else all
    texts; files that the library datasets saved are found by its own list.

    Args:
        path: A file, a folder or a zip archive.
        split: The part that is wanted, such as ``train``.
        kind_of: Returns the kind of a file by its name, None for a kind that cannot be read.

    Raises:
        FileUnusable: The folder may not be read or the split is not there.
        DatasetInvalid: It holds nothing that can be read, or several kinds of tables.
    """
    is_archive = path.suffix.lower() == ".zip" and path.is_file()
    if not is_archive and not path.is_dir():
        if split != "train":
            raise DatasetInvalid(
                f"{path.name} is a single file and has no part named {split!r}.",
                "Leave data.train.split at train, or choose the file of that part.",
            )
        _check_columnar(path, kind_of(path), is_archive)
        return [path]
    if (path / "dataset_dict.json").is_file():
        path, split = _enter_split(path, split), "train"
    if (path / "state.json").is_file():
        return _list_saved(path)
    found = list_members(path) if is_archive else _walk(path)
    kind, chosen = _choose_kind(path, found, kind_of)
    for one in chosen:
        _check_columnar(one, kind, is_archive)
    return chosen if kind == _TEXT_KIND else _choose_split(path, chosen, split)


def _walk(folder: Path) -> list[Path]:
    try:
        found = [
            one
            for one in sorted(folder.rglob("*"), key=lambda one: one.as_posix())
            if one.is_file() and not _is_hidden(one.relative_to(folder))
        ]
    except OSError as error:
        raise unreadable(folder, error) from error
    if len(found) > _MOST_FILES:
        raise DatasetInvalid(
            f"{folder} holds {len(found):,} files; at most {_MOST_FILES:,} are read.",
            "Choose a smaller folder, or put many texts into one file.",
        )
    return found


def _is_hidden(path: PurePath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _choose_kind(path: Path, found: Sequence[Path], kind_of: KindOf) -> tuple[str, list[Path]]:
    by_kind: dict[str, list[Path]] = {}
    for one in found:
        kind = kind_of(one)
        if kind is not None and one.name not in _ABOUT:
            by_kind.setdefault(kind, []).append(one)
    tables = sorted(set(by_kind) - {_TEXT_KIND})
    if len(tables) > 1:
        listed = ", ".join(f"{len(by_kind[kind])} {kind}" for kind in tables)
        raise DatasetInvalid(
            f"{path} holds tables of several kinds ({listed}), so it is not clear what to read.",
            "Choose one of the files, or a folder with files of one kind.",
        )
    if not by_kind:
        raise DatasetInvalid(
            f"{path} holds no file that can be read as training data.",
            "Choose a folder with .jsonl, .json, .csv, .parquet, .arrow, .txt or .md files.",
        )
    kind = tables[0] if tables else _TEXT_KIND
    return kind, by_kind[kind]


def _choose_split(path: Path, files: Sequence[Path], split: str) -> list[Path]:
    words = {one: _split_of(one.relative_to(path)) for one in files}
    named = sorted({word for word in words.values() if word is not None})
    if not named:
        if split != "train":
            raise _no_split(path, split, ["train"])
        return list(files)
    if None in words.values():
        without = next(one.name for one, word in words.items() if word is None)
        raise DatasetInvalid(
            f"Some files in {path} name the part they belong to ({', '.join(named)}), others do "
            f"not (for example {without}).",
            "Choose the file itself, or put the files of each part into a folder of their own.",
        )
    chosen = [one for one, word in words.items() if word == _canonical(split)]
    if not chosen:
        raise _no_split(path, split, named)
    return chosen


def _split_of(path: PurePath) -> str | None:
    parts = [part for text in reversed(path.parts) for part in re.split(r"[\W_]+", text.lower())]
    found = [_canonical(part) for part in parts]
    return next((one for one in found if one in _SPLIT_WORDS), None)


def _canonical(word: str) -> str:
    return next((key for key, words in _SPLIT_WORDS.items() if word.lower() in words), word)


def _enter_split(path: Path, split: str) -> Path:
    names = [str(one) for one in _read_about(path / "dataset_dict.json").get("splits", [])]
    if split not in names or PurePath(split).name != split:
        raise _no_split(path, split, names)
    return path / split


def _list_saved(path: Path) -> list[Path]:
    entries = _read_about(path / "state.json").get("_data_files")
    names = [one.get("filename") for one in entries if isinstance(one, dict)] if entries else []
    if not names or any(not isinstance(one, str) or PurePath(one).name != one for one in names):
        raise DatasetInvalid(
            f"{path / 'state.json'} does not list the files of the data set.",
            "Save the data set again with save_to_disk, or choose its .arrow file.",
        )
    return [path / str(name) for name in names]


def _read_about(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise DatasetInvalid(
            f"{path} is damaged: {error}.", "Save the data set again, or choose its data file."
        ) from error
    return value if isinstance(value, dict) else {}


def _no_split(path: Path, split: str, known: Sequence[str]) -> FileUnusable:
    return FileUnusable(
        f"{path} has no part named {split!r}; it has {', '.join(known) or 'none'}.",
        "Set data.train.split to one of these.",
    )


def _check_columnar(path: Path, kind: str | None, is_archive: bool) -> None:
    if kind in _COLUMNAR_KINDS and (is_archive or path.suffix.lower() in PACKED_SUFFIXES):
        raise DatasetInvalid(
            f"{inner_name(path)} cannot be read while it is packed, because tables of this kind "
            "are not read from the beginning to the end.",
            "Unpack it first; such files are compressed by themselves.",
        )
