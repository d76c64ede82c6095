"""From a data source of a recipe to a file or folder: a path, or a pinned data set of the hub."""

from __future__ import annotations

from pathlib import Path

from studio.core.errors import FileUnusable
from studio.core.hub.cache import find_hub_snapshot
from studio.core.hub.choose import is_safe_path
from studio.core.hub.names import PREFIX, Repository, find_repository


def find_data_path(source: str, base_folder: Path, revision: str | None = None) -> Path:
    """Return the file or folder that a source means; relative paths start at ``base_folder``.

    ``hub:owner/name`` is always a data set of the hub, ``hub:owner/name/part`` a file or folder in
    it; plain ``owner/name`` is one where there is no such path. Nothing is downloaded.

    Raises:
        FileUnusable: The data set is not on this machine, or has no such part.
    """
    path = base_folder / Path(source).expanduser()
    if not source.startswith(PREFIX) and (path.exists() or not _could_be_name(source)):
        return path
    repository, part = split_source(source)
    snapshot = find_hub_snapshot(repository.name, revision, "dataset")
    if snapshot is None:
        version = f" in version {revision}" if revision else ""
        raise FileUnusable(
            f"The data set {repository.name} is not on this machine{version}"
            + ("." if source.startswith(PREFIX) else f", and there is no folder {path}."),
            f"Download it on the Data page, or with: lora-studio download {repository.name} --data",
        )
    found = snapshot / part if part else snapshot
    if not found.exists():
        raise FileUnusable(
            f"The data set {repository.name} on this machine has no {part}.",
            f"Download it too: lora-studio download {repository.name} --data --only {part}",
        )
    return found


def find_data_revision(source: str, base_folder: Path, revision: str | None = None) -> str | None:
    """Return the commit of the data set that a source names; None where it is a path.

    Raises:
        FileUnusable: The data set is not on this machine.
    """
    path = find_data_path(source, base_folder, revision)
    if path == base_folder / Path(source).expanduser():
        return None
    repository, _ = split_source(source)
    snapshot = find_hub_snapshot(repository.name, revision, "dataset")
    return None if snapshot is None else snapshot.name


def split_source(source: str) -> tuple[Repository, str]:
    """Return the data set and the part of it that a source names.

    Raises:
        FileUnusable: It names neither.
    """
    owner, _, rest = source.removeprefix(PREFIX).partition("/")
    name, _, part = rest.partition("/")
    repository = find_repository(f"{owner}/{name}" if name else owner, "dataset")
    if repository is None or (part and not is_safe_path(part)):
        raise FileUnusable(
            f"{source} names no data set of the hub.",
            "Write it as hub:owner/name, for example hub:tatsu-lab/alpaca.",
        )
    return repository, part


def _could_be_name(source: str) -> bool:
    is_one_word = source.count("/") == 1 and not Path(source).suffix
    return is_one_word and find_repository(source, "dataset") is not None
