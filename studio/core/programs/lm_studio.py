"""LM Studio's folder of models: where it is, and a GGUF file put into its layout."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from studio.core.errors import FileUnusable
from studio.core.files import check_free_space, get_file_error, get_temporary_path
from studio.core.json_text import parse_json
from studio.core.network.fetch import Cancelled, FetchCancelled
from studio.core.paths import slug

FOLDER_SETTING = "lm_studio_folder"
"""Name of the preference that holds the folder; empty means where LM Studio keeps its models."""

PUBLISHER = "lora-studio"
_POINTER, _SETTINGS = ".lmstudio-home-pointer", "settings.json"
_LARGEST_SETTINGS_BYTES = 4 << 20
_BLOCK_BYTES = 8 << 20


def get_models_folders(user: Path | None = None) -> tuple[Path, ...]:
    """Returns the folders in which LM Studio may keep models, likeliest first, existing or not.

    Its settings may name one (``downloadsFolder``); its home is ``.lmstudio``, in older versions
    ``.cache/lm-studio``, or where a small file in the user's folder points to. The same on all
    systems.
    """
    root = user or Path.home()
    homes = [root / ".lmstudio", root / ".cache" / "lm-studio"]
    try:
        pointed = (root / _POINTER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # as on most machines
        pointed = ""
    if pointed:
        homes.insert(0, Path(pointed))
    chosen = [folder for home in homes if (folder := _read_chosen(home)) is not None]
    return tuple(dict.fromkeys([*chosen, *(home / "models" for home in homes)]))


def find_models_folder(preference: str = "", user: Path | None = None) -> Path | None:
    """Returns the folder for new models: as set here, else the first there is; None without one."""
    if preference.strip():
        folder = Path(preference.strip()).expanduser()
        return folder if folder.is_dir() else None
    return next((path for path in get_models_folders(user) if path.is_dir()), None)


def get_place(models: Path, name: str, file: Path) -> Path:
    """Returns where LM Studio looks for a file: models / publisher / model / file."""
    return models / PUBLISHER / slug(name) / file.name


def put(
    file: Path, models: Path, name: str, is_cancelled: Cancelled = lambda: False
) -> Generator[tuple[int, int], None, tuple[Path, bool]]:
    """Puts a GGUF file into LM Studio's layout; returns the place and whether it is a link.

    On the same drive both names share one file (a hard link), which takes no space. What is there
    already is never overwritten; the very same file counts as put.

    Yields:
        Bytes copied so far, bytes in total.

    Raises:
        FetchCancelled: The user no longer wants it; nothing is left.
        FileUnusable: Another file of that name is there, or the folder cannot be written to.
    """
    place = get_place(models, name, file)
    try:
        if place.exists():
            if place.samefile(file):
                return place, True
            raise FileUnusable(
                f"{place} is there already, and it is another file.",
                "Choose another name, or delete that model in LM Studio first.",
                code="name_taken",
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:  # another drive, or a file system without links
            yield from _copy(file, place, is_cancelled)
            return place, False
    except OSError as error:
        raise get_file_error(place, error) from error
    size = file.stat().st_size
    yield size, size
    return place, True


def _copy(
    file: Path, place: Path, is_cancelled: Cancelled
) -> Generator[tuple[int, int], None, None]:
    size, done = file.stat().st_size, 0
    check_free_space(place.parent, size)
    temporary = get_temporary_path(place)
    try:
        with file.open("rb") as source, temporary.open("wb") as target:
            while block := source.read(_BLOCK_BYTES):
                if is_cancelled():
                    raise FetchCancelled("Cancelled.")
                target.write(block)
                done += len(block)
                yield done, size
            target.flush()
            os.fsync(target.fileno())
        temporary.rename(place)
    finally:
        temporary.unlink(missing_ok=True)
        if not any(place.parent.iterdir()):
            place.parent.rmdir()


def _read_chosen(home: Path) -> Path | None:
    """Returns the folder of downloads that LM Studio's settings name, if they name one."""
    try:
        with (home / _SETTINGS).open("rb") as stream:
            settings = parse_json(stream.read(_LARGEST_SETTINGS_BYTES))
    except (OSError, ValueError):
        return None
    folder = settings.get("downloadsFolder") if isinstance(settings, dict) else None
    return Path(folder) if isinstance(folder, str) and folder else None
