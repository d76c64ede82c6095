"""The first rows of a data set as the hub itself shows them, before anything is downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from studio.core.errors import NetworkFailed
from studio.core.hub.names import Repository, get_endpoint
from studio.core.hub.token import find_token
from studio.core.network.fetch import Cancelled, Refused, fetch
from studio.core.network.gate import Gate

MOST_ROWS = 50
_MOST_COLUMNS = 40


@dataclass(frozen=True)
class FirstRows:
    """Rows of one part of a data set; ``part`` names it, ``columns`` are in the hub's order."""

    part: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def load_first_rows(
    gate: Gate, repository: Repository, *, is_cancelled: Cancelled = lambda: False
) -> FirstRows:
    """Return the first rows of the training part, or of the first part there is.

    The hub reads them from Parquet, JSON and other files alike; long values are cut there.

    Raises:
        Offline: The gate is closed.
        NetworkFailed: The hub was not reached, or cannot show rows of this data set.

    Source: the hub's documentation of its data set viewer, ``/splits`` and ``/first-rows``.
    """
    told = _ask(gate, "splits", {"dataset": repository.name}, repository, is_cancelled)
    parts = [part for part in _list(told, "splits") if _is_part(part)]
    if not parts:
        raise _refuse(repository, "it has not looked into the data set yet")
    part = next((one for one in parts if one["split"] == "train"), parts[0])
    wish = {"dataset": repository.name, "config": part["config"], "split": part["split"]}
    told = _ask(gate, "first-rows", wish, repository, is_cancelled)
    columns = tuple(
        str(one["name"]) for one in _list(told, "features") if isinstance(one.get("name"), str)
    )
    rows = [one["row"] for one in _list(told, "rows") if isinstance(one.get("row"), Mapping)]
    if not rows:
        raise _refuse(repository, "it holds no rows")
    name = part["split"] if part["config"] == "default" else f"{part['config']}, {part['split']}"
    return FirstRows(name, columns[:_MOST_COLUMNS], tuple(rows[:MOST_ROWS]))


def get_rows_endpoint() -> str:
    """Return the address of the hub's service that shows rows."""
    return get_endpoint().replace("://", "://datasets-server.", 1)


def _ask(
    gate: Gate,
    what: str,
    wish: Mapping[str, str],
    repository: Repository,
    is_cancelled: Cancelled,
) -> Any:
    url = f"{get_rows_endpoint()}/{what}?{urlencode(wish)}"
    words = f"show rows of {repository.words}"
    try:
        reply = fetch(gate, url, words, token=find_token(), is_cancelled=is_cancelled)
        return json.loads(reply.content)
    except Refused as error:
        is_closed = error.status in (401, 403)
        why = (
            "its owner wants the conditions to be accepted first"
            if is_closed
            else "the hub cannot read its files as rows"
        )
        raise _refuse(repository, why) from error
    except (ValueError, RecursionError) as error:
        raise _refuse(repository, "the answer could not be understood") from error


def _list(told: Any, name: str) -> list[Mapping[str, Any]]:
    entries = told.get(name) if isinstance(told, Mapping) else None
    listed = entries if isinstance(entries, list) else []
    return [one for one in listed if isinstance(one, Mapping)]


def _is_part(part: Mapping[str, Any]) -> bool:
    return all(isinstance(part.get(key), str) for key in ("config", "split"))


def _refuse(repository: Repository, why: str) -> NetworkFailed:
    return NetworkFailed(
        f"The hub shows no rows of {repository.name}: {why}.",
        "Below are its files instead; after the download every row can be looked at.",
        code="no_first_rows",
    )
