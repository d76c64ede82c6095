"""The cache of the hub's own tools on this machine: where a downloaded version lies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from studio.core.hub.names import Repository, RepositoryKind, find_repository, is_revision

MAX_FOLDERS = 5_000
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def get_hub_cache(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder in which the hub's own tools keep what they downloaded."""
    env = os.environ if environment is None else environment
    for key in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(key):
            return Path(env[key]).expanduser()
    cache = Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    return Path(env.get("HF_HOME") or cache).expanduser() / "hub"


def find_hub_snapshot(
    name: str, revision: str | None = None, kind: RepositoryKind = "model"
) -> Path | None:
    """Return the folder of a hub repository (``owner/name``) in the cache, None if not there.

    Without ``revision`` it is the one that ``main`` points to, or the newest.
    """
    repository = find_repository(name, kind)
    if repository is None or repository.kind != kind:
        return None
    return choose_snapshot(get_hub_cache() / repository.folder_name, revision)


def iter_snapshots(kind: RepositoryKind) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of everything of one kind that lies in the cache, by name."""
    for folder in list_folders(get_hub_cache()):
        prefix, _, name = folder.name.partition("--")
        snapshot = choose_snapshot(folder, None) if prefix == f"{kind}s" and name else None
        if snapshot is not None:
            yield name.replace("--", "/", 1), snapshot


def choose_snapshot(folder: Path, revision: str | None) -> Path | None:
    """Return the folder of one version of a cached repository, None if it is not there."""
    snapshots = folder / "snapshots"
    if revision is not None and _COMMIT.fullmatch(revision):
        return next((p for p in list_folders(snapshots) if p.name.startswith(revision)), None)
    reference = revision or "main"
    if not is_revision(reference):
        return None
    try:
        pinned = snapshots / (folder / "refs" / reference).read_text("utf-8").strip()[:64]
        if _COMMIT.fullmatch(pinned.name) and pinned.is_dir():
            return pinned
    except (OSError, UnicodeDecodeError):  # no such branch was ever downloaded
        pass
    if revision is not None:
        return None
    return max(list_folders(snapshots), key=lambda path: path.stat().st_mtime, default=None)


def list_folders(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, in order; none where it is missing or not ours."""
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        return sorted(path for path in inside if path.is_dir())[:MAX_FOLDERS]
    except OSError:  # missing, or not ours to read
        return []


def get_repository_folder(repository: Repository) -> Path:
    """Return where a repository lies in the cache, whether it is there or not."""
    return get_hub_cache() / repository.folder_name
