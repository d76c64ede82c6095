"""An exported folder goes to the hub: privately unless wished otherwise, after one look at it."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.events.types import ExportProgressed
from studio.core.files import get_file_error
from studio.core.hub.names import get_endpoint
from studio.core.hub.refusals import HOW_TO_LOG_IN, HubRefused
from studio.core.hub.token import find_token
from studio.core.network.gate import Gate
from studio.core.network.hub_library import open_hub_library
from studio.core.programs.exported import read_certificate
from studio.engine.export.card_facts import CARD_NAME, HUB_NAME, read_header

_CONFIG_NAME = "adapter_config.json"


@dataclass(frozen=True)
class Upload:
    """What goes up: the names and places of the files, and contents that differ from the disk."""

    files: dict[str, Path]
    contents: dict[str, bytes]

    @property
    def total_bytes(self) -> int:
        """The size of all files."""
        return sum(path.stat().st_size for path in self.files.values())


@dataclass(frozen=True)
class Pushed:
    """Where the files are now."""

    url: str
    commit: str


def collect_upload(folder: Path) -> Upload:
    """Returns the files of a verified export in ``folder``; a path of this machine stays here.

    Raises:
        FileUnusable: It is no export, or one whose check failed.
    """
    read_certificate(folder)
    try:
        names = [entry for entry in sorted(folder.rglob("*")) if entry.is_file()]
    except OSError as error:
        raise get_file_error(folder, error, "read") from error
    files = {
        entry.relative_to(folder).as_posix(): entry
        for entry in names
        if not entry.is_symlink() and not entry.name.startswith(".")
    }
    return Upload(files, _replace_base(folder))


def push(
    gate: Gate, upload: Upload, repository: str, *, is_private: bool = True
) -> Generator[ExportProgressed, None, Pushed]:
    """Makes the repository if need be and adds all files in one commit; returns where they are.

    Nothing shows in the repository before the last byte is there.

    Yields:
        ExportProgressed after each file.

    Raises:
        Offline: The gate is closed.
        HubRefused: There is no access token, or it must not write there.
        NetworkFailed: The hub was not reached.
    """
    if not HUB_NAME.match(repository):
        raise RecipeInvalid(
            f"{repository!r} is no name of a repository.", "Write it as owner/name."
        )
    wish = f"upload {repository} to the hub"
    gate.check(wish)
    token = find_token()
    if token is None:
        raise HubRefused("The hub lets only known users upload.", HOW_TO_LOG_IN, code="hub_token")
    with open_hub_library(gate, wish) as hub:
        api = hub.HfApi(endpoint=get_endpoint(), token=token)
        api.create_repo(repository, private=is_private, exist_ok=True, repo_type="model")
        if is_private and not api.repo_info(repository).private:
            raise HubRefused(
                f"{repository} exists and everybody can see it.",
                "Choose another name, or say that the upload may be public.",
                code="hub_public",
            )
        done_bytes, total_bytes = 0, upload.total_bytes
        operations = []
        for name, path in upload.files.items():
            source: Any = upload.contents.get(name, path)
            operation = hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=source)
            api.preupload_lfs_files(repository, [operation])
            operations.append(operation)
            done_bytes += path.stat().st_size
            yield ExportProgressed(done_bytes=done_bytes, total_bytes=total_bytes)
        commit = api.create_commit(
            repository, operations, commit_message="Upload from LoRA Studio", repo_type="model"
        )
    return Pushed(f"{get_endpoint()}/{repository}", str(commit.oid))


def _replace_base(folder: Path) -> dict[str, bytes]:
    """Returns the adapter's settings with the hub's name of the base instead of a path."""
    path = folder / _CONFIG_NAME
    name = read_header(folder / CARD_NAME).get("base_model")
    if not path.is_file():
        return {}
    config = json.loads(path.read_bytes())
    if isinstance(name, str):
        config["base_model_name_or_path"] = name
    elif not HUB_NAME.match(str(config.get("base_model_name_or_path", ""))):
        config["base_model_name_or_path"] = None
    return {_CONFIG_NAME: json.dumps(config, indent=2).encode()}
