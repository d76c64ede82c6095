"""Numbers that were measured once on this computer and are kept for the next time."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path

import torch

from studio.core.errors import FileUnusable
from studio.core.files import write_atomically
from studio.core.json_text import parse_json


class Remembered:
    """One number, kept in ``cache_folder`` under ``kind`` for everything that ``words`` name.

    Without a folder nothing is kept.
    """

    def __init__(self, cache_folder: Path | None, kind: str, *words: object) -> None:
        digest = hashlib.blake2b(repr(words).encode(), digest_size=12).hexdigest()
        self._path = None if cache_folder is None else cache_folder / kind / f"{digest}.json"

    def find(self) -> int | None:
        """Returns the kept number; a file that cannot be read counts as none."""
        if self._path is None:
            return None
        try:
            number = parse_json(self._path.read_text(encoding="utf-8"))["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it can be measured again
        return number if isinstance(number, int) and number > 0 else None

    def keep(self, number: int) -> None:
        """Keeps ``number`` for the next time.

        Raises:
            FileUnusable: The folder is not writable.
        """
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileUnusable(
                f"{self._path.parent} cannot be made: {error.strerror}.",
                "Choose another --home folder.",
            ) from error
        write_atomically(self._path, json.dumps({"rows": number}) + "\n")


def name_device(device: torch.device) -> str:
    """Returns what stands for the speed of a device: a card's name, a processor and its threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.processor() or platform.machine()} {torch.get_num_threads()}"
