"""Runs of one name are told apart by when they were made."""

from __future__ import annotations

import time
from pathlib import Path

from studio.core.runs.naming import build_titles
from studio.core.runs.record import IMPORTED, RunRecord


def _title(*runs: tuple[str, tuple[int, ...]]) -> list[str]:
    records = [
        RunRecord(
            name=name,
            folder=Path(f"/runs/{place}"),
            created_seconds=time.mktime((*moment, 0, 0, -1)),
        )
        for place, (name, moment) in enumerate(runs)
    ]
    titles = build_titles(records)
    return [titles[record.folder] for record in records]


def test_a_name_that_only_one_run_has_stays_as_it_is() -> None:
    morning = (2026, 3, 4, 9, 5, 0)
    assert _title(("pirate", morning), ("json", morning)) == ["pirate", "json"]


def test_runs_of_one_name_get_the_shortest_times_that_differ() -> None:
    morning, later, minute = (2026, 3, 4, 9, 5, 0), (2026, 3, 4, 13, 8, 0), (2026, 3, 4, 9, 5, 7)
    yesterday, year = (2026, 3, 3, 9, 5, 0), (2025, 3, 4, 9, 5, 0)
    assert _title(("a", morning), ("a", later)) == ["a (09:05)", "a (13:08)"]
    assert _title(("a", morning), ("a", minute)) == ["a (09:05:00)", "a (09:05:07)"]
    assert _title(("a", morning), ("a", yesterday)) == ["a (04 Mar 09:05)", "a (03 Mar 09:05)"]
    assert _title(("a", morning), ("a", year))[1] == "a (04 Mar 2025 09:05:00)"


def test_what_no_time_tells_apart_is_numbered_in_the_order_of_the_folders() -> None:
    moment, later = (2026, 3, 4, 9, 5, 0), (2026, 3, 4, 9, 5, 1)
    titles = _title(("a", moment), ("a", later), ("a", moment))
    assert titles == ["a (09:05:00)", "a (09:05:01)", "a (09:05:00, 2)"]


def test_an_imported_copy_of_a_run_says_so() -> None:
    own = RunRecord(name="a", folder=Path("/runs/1"), created_seconds=1e9)
    copy = own.model_copy(update={"folder": Path("/runs/1-2"), "kind": IMPORTED})
    titles = build_titles([copy, own])
    assert titles[copy.folder] == titles[own.folder].replace(")", ", imported)")
