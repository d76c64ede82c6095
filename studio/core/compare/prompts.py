"""Sets of prompts that are asked again and again: JSONL files in the home folder and elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from studio.core.errors import FileUnusable
from studio.core.files import get_file_error, remove, write_atomically
from studio.core.jobs.orders import Turn
from studio.core.json_text import parse_json
from studio.core.paths import slug

Conversation = tuple[Turn, ...]
"""The turns before the answer; the last one is the user's."""

_ENDING = ".jsonl"
_MOST_BYTES = 64 << 20
_FORM = 'Each line must be like {"prompt": "..."} or {"messages": [...]}.'
_DIFFERENT = "it has other parts than a prompt"


def load_prompts(path: Path) -> list[Conversation]:
    """Returns the conversations of a JSONL file with a column ``prompt`` or ``messages``.

    Raises:
        FileUnusable: The file is missing, empty or far too large, or a line is not of that form.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FileUnusable(
                f"{path} is larger than {_MOST_BYTES >> 20} MB, which is too much for prompts.",
                "Choose a file with a few hundred prompts.",
            )
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except UnicodeDecodeError as error:
        raise FileUnusable(
            f"{path} cannot be read: it holds something else than UTF-8 text.",
            "Choose a text file with one prompt per line, saved as UTF-8.",
        ) from error
    pairs = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not pairs:
        raise FileUnusable(f"{path} holds no prompts: it is empty.", _FORM)
    return [_parse(line, path, number) for number, line in pairs]


def save_prompts(path: Path, prompts: Sequence[Conversation]) -> None:
    """Writes conversations as JSONL that ``load_prompts`` and ``generate --prompts`` read.

    Raises:
        DiskFull: No space is left; an older file is untouched.
        FileUnusable: The folder is missing or not writable.
    """
    lines = [json.dumps(_to_row(turns), ensure_ascii=False) for turns in prompts]
    write_atomically(path, "".join(f"{line}\n" for line in lines))


class PromptSets:
    """The saved sets of one home; a set is a file, its name the name of the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_names(self) -> list[str]:
        """Returns the names of all sets in the order of the alphabet."""
        if not self._folder.is_dir():
            return []
        names = [path.stem for path in self._folder.glob(f"*{_ENDING}")]
        return sorted(names, key=str.casefold)

    def load(self, name: str) -> list[Conversation]:
        """Returns the prompts of one set.

        Raises:
            FileUnusable: There is no such set, or its file is damaged.
        """
        return load_prompts(self._get_path(name))

    def save(self, name: str, prompts: Sequence[Conversation]) -> str:
        """Writes a set; returns its name, which has a number where another set has that name.

        Raises:
            FileUnusable: The folder is not writable.
        """
        path, number = self._get_path(name), 2
        while path.exists():
            path, number = self._get_path(f"{name}-{number}"), number + 1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise get_file_error(self._folder, error) from error
        save_prompts(path, prompts)
        return path.stem

    def remove(self, name: str) -> None:
        """Deletes a set; one that is gone already is no mistake.

        Raises:
            FileUnusable: The file cannot be deleted.
        """
        path = self._get_path(name)
        try:
            remove(path)
        except OSError as error:
            raise get_file_error(path, error, "deleted") from error

    def _get_path(self, name: str) -> Path:
        return self._folder / f"{slug(name)}{_ENDING}"


def _parse(line: str, path: Path, number: int) -> Conversation:
    try:
        row = parse_json(line)
        turns = row.get("messages", [{"role": "user", "content": row.get("prompt")}])
        found = tuple(Turn(role=turn["role"], content=turn["content"]) for turn in turns)
    except ValidationError as error:
        raise _refuse(path, number, _DIFFERENT) from error  # before ValueError, which it is too
    except ValueError as error:
        raise _refuse(path, number, "it is not valid JSON") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise _refuse(path, number, _DIFFERENT) from error
    if not found:
        raise _refuse(path, number, "there are no messages")
    if found[-1].role != "user":
        raise _refuse(path, number, "the last message is not the user's, so nothing is asked")
    return found


def _refuse(path: Path, number: int, reason: str) -> FileUnusable:
    return FileUnusable(f"{path}, line {number} is not a prompt: {reason}.", _FORM)


def _to_row(turns: Conversation) -> dict[str, object]:
    if len(turns) == 1 and turns[0].role == "user":
        return {"prompt": turns[0].content}
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in turns]}
