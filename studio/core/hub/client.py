"""Questions to the hub: what there is, and what one version of a repository holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

from studio.core.errors import NetworkFailed
from studio.core.hub.names import (
    Repository,
    RepositoryKind,
    find_repository,
    get_endpoint,
    is_commit,
)
from studio.core.hub.refusals import describe_refusal
from studio.core.hub.token import find_token
from studio.core.network.fetch import Cancelled, Refused, fetch
from studio.core.network.gate import Gate

Order = Literal["downloads", "likes", "lastModified"]
_SHOWN = ("downloads", "likes", "lastModified", "gated", "tags")
_LONGEST_NAME = 120
_HASHES = {"sha1": re.compile(r"[0-9a-f]{40}"), "sha256": re.compile(r"[0-9a-f]{64}")}


@dataclass(frozen=True)
class HubEntry:
    """One repository as a search shows it.

    ``parameters`` is None where the hub does not know. ``is_gated`` means that its owner wants the
    licence to be accepted first.
    """

    repository: Repository
    downloads: int = 0
    likes: int = 0
    parameters: int | None = None
    licence: str = ""
    is_gated: bool = False
    updated: str = ""


@dataclass(frozen=True)
class HubFile:
    """A file of one version: ``content_hash`` is the hub's name for its content.

    It is the SHA-256 of large files and git's SHA-1 of small ones; the hub's tools use it as the
    file's name in their cache.
    """

    path: str
    size_bytes: int
    content_hash: str


@dataclass(frozen=True)
class HubDetails:
    """One version of a repository: its commit and all its files."""

    entry: HubEntry
    commit: str
    files: tuple[HubFile, ...]
    dtype: str = ""


def search(
    gate: Gate,
    kind: RepositoryKind,
    text: str,
    *,
    limit: int = 40,
    order: Order = "downloads",
    is_cancelled: Cancelled = lambda: False,
) -> list[HubEntry]:
    """Returns what the hub finds for ``text``, most used first; models only if they can be used.

    Raises:
        Offline: The gate is closed.
        NetworkFailed: The hub was not reached, did not answer or answered nonsense.
    """
    wanted = [("search", text.strip()), ("limit", str(limit)), ("sort", order), ("direction", "-1")]
    shown: tuple[str, ...] = _SHOWN
    if kind == "model":
        # models that write text and have weights in the one format that is loaded
        wanted += [("filter", "text-generation"), ("filter", "safetensors")]
        shown = (*_SHOWN, "safetensors")
    wanted += [("expand[]", name) for name in shown]
    url = f"{get_endpoint()}/api/{kind}s?{urlencode(wanted)}"
    answer = _ask(gate, url, "search the hub", None, is_cancelled)
    if not isinstance(answer, list):
        raise _get_nonsense()
    return [entry for entry in (_read_entry(item, kind) for item in answer) if entry is not None]


def describe(
    gate: Gate,
    repository: Repository,
    revision: str | None = None,
    *,
    is_cancelled: Cancelled = lambda: False,
) -> HubDetails:
    """Returns commit and files of one version; without ``revision`` that of the main branch.

    Raises:
        Offline: The gate is closed.
        HubRefused: It does not exist, or the hub wants a token or an accepted licence.
        NetworkFailed: The hub was not reached, did not answer or answered nonsense.
    """
    place = f"/revision/{quote(revision, safe='')}" if revision else ""
    name = quote(repository.name)
    url = f"{get_endpoint()}/api/{repository.kind}s/{name}{place}?blobs=true"
    answer = _ask(gate, url, f"look at {repository.words}", repository, is_cancelled)
    commit = answer.get("sha") if isinstance(answer, dict) else None
    if not isinstance(commit, str) or not is_commit(commit):
        raise _get_nonsense()
    entry = _read_entry({**answer, "id": repository.name}, repository.kind)
    return HubDetails(
        entry or HubEntry(repository),
        commit,
        tuple(_iter_files(answer.get("siblings"))),
        _find_dtype(answer.get("safetensors")),
    )


def build_file_url(repository: Repository, commit: str, path: str) -> str:
    """Returns the address of one file in one version."""
    return f"{get_endpoint()}/{repository.web_path}/resolve/{commit}/{quote(path)}"


def _ask(
    gate: Gate, url: str, wish: str, repository: Repository | None, is_cancelled: Cancelled
) -> Any:
    token = find_token()
    try:
        reply = fetch(gate, url, wish, token=token, is_cancelled=is_cancelled)
    except Refused as error:
        raise describe_refusal(error, repository, has_token=token is not None) from error
    try:
        return json.loads(reply.content)
    except (ValueError, RecursionError) as error:
        raise _get_nonsense() from error


def _get_nonsense() -> NetworkFailed:
    return NetworkFailed(
        "The hub gave an answer that cannot be understood.",
        "Check the connection (some networks ask to log in first) and try again.",
    )


def _read_entry(item: object, kind: RepositoryKind) -> HubEntry | None:
    if not isinstance(item, Mapping):
        return None
    name = item.get("id")
    repository = find_repository(name, kind) if isinstance(name, str) else None
    if repository is None or len(repository.name) > _LONGEST_NAME:
        return None
    tags = item.get("tags")
    return HubEntry(
        repository,
        downloads=_count(item.get("downloads")),
        likes=_count(item.get("likes")),
        parameters=_find_parameters(item.get("safetensors")),
        licence=_find_licence(tags if isinstance(tags, Sequence) else ()),
        is_gated=item.get("gated") not in (None, False, "false"),
        updated=str(item.get("lastModified") or "")[:10],
    )


def _find_parameters(about: object) -> int | None:
    total = about.get("total") if isinstance(about, Mapping) else None
    return _count(total) or None


def _find_dtype(about: object) -> str:
    """Returns the number format that most parameters have, such as ``BF16``."""
    counts = about.get("parameters") if isinstance(about, Mapping) else None
    if not isinstance(counts, Mapping) or not counts:
        return ""
    return str(max(counts, key=lambda name: _count(counts[name])))[:20]


def _find_licence(tags: Sequence[object]) -> str:
    marked = (tag for tag in tags if isinstance(tag, str) and tag.startswith("license:"))
    return next(marked, "").removeprefix("license:")[:60]


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _iter_files(siblings: object) -> Iterator[HubFile]:
    for item in siblings if isinstance(siblings, list) else ():
        if not isinstance(item, Mapping) or not isinstance(item.get("rfilename"), str):
            continue
        large = item.get("lfs")
        if isinstance(large, Mapping):
            size, name, kind = large.get("size"), large.get("sha256") or large.get("oid"), "sha256"
        else:
            size, name, kind = item.get("size"), item.get("blobId"), "sha1"
        is_known = isinstance(name, str) and _HASHES[kind].fullmatch(name) is not None
        if is_known and isinstance(size, int) and size >= 0:
            yield HubFile(item["rfilename"], size, str(name))
