"""What people and recipes call a repository of the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from studio.core.errors import RecipeInvalid

RepositoryKind = Literal["model", "dataset"]

PREFIX = "hub:"
_DEFAULT_ENDPOINT = "https://huggingface.co"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository of the hub: ``name`` is ``owner/name``, or one word for the oldest ones."""

    kind: RepositoryKind
    name: str

    @property
    def folder_name(self) -> str:
        """What the hub's own tools call its folder in their cache."""
        return "--".join([f"{self.kind}s", *self.name.split("/")])

    @property
    def web_path(self) -> str:
        """Its path in web addresses, without a leading slash."""
        return quote(self.name if self.kind == "model" else f"datasets/{self.name}")

    @property
    def words(self) -> str:
        """What it is, for people, such as ``the data set a/b``."""
        return f"the {'model' if self.kind == 'model' else 'data set'} {self.name}"


def get_endpoint(environment: Mapping[str, str] | None = None) -> str:
    """Returns the address of the hub: ``HF_ENDPOINT`` where it is set, as the hub's tools do."""
    env = os.environ if environment is None else environment
    return (env.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")


def find_repository(text: str, kind: RepositoryKind) -> Repository | None:
    """Returns the repository that a text names, or None if it cannot name one.

    Accepted are ``owner/name``, ``hub:owner/name``, ``datasets/owner/name`` and the address of its
    page. Paths (``./x``, ``a/b/c``) are none.
    """
    name = text.strip().removeprefix(PREFIX)
    if name.startswith(("http://", "https://")):
        name = urlsplit(name).path.strip("/")
        name = re.split(r"/(?:tree|blob|resolve)/", name)[0]
    if name.startswith("datasets/") and name.count("/") == 2:
        kind, name = "dataset", name.removeprefix("datasets/")
    parts = name.split("/")
    if len(parts) > 2 or not all(_is_safe(part) for part in parts):
        return None
    return Repository(kind, name)


def get_repository(text: str, kind: RepositoryKind) -> Repository:
    """Returns the repository that a text names.

    Raises:
        RecipeInvalid: It cannot be the name of one.
    """
    found = find_repository(text, kind)
    if found is None:
        raise RecipeInvalid(
            f"{text!r} is no name of a model or data set on the hub.",
            "Names look like owner/name, for example Qwen/Qwen2.5-0.5B.",
        )
    return found


def is_commit(revision: str) -> bool:
    """Returns whether a revision is the full name of one commit, which never changes."""
    return _COMMIT.fullmatch(revision) is not None


def is_revision(revision: str) -> bool:
    """Returns whether a text can be a branch, tag or commit and nothing else."""
    return _REVISION.fullmatch(revision) is not None and ".." not in revision


def _is_safe(part: str) -> bool:
    is_misleading = ".." in part or "--" in part or part.endswith((".", "-", ".git"))
    return _PART.fullmatch(part) is not None and not is_misleading
