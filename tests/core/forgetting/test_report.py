"""Checks are kept, listed, opened and deleted; what a file says of them is safe to open."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.events.measures import ProbeAnswered
from studio.core.forgetting.probes import Probe
from studio.core.forgetting.report import ForgettingReport, ReportStore, build_report, write_report
from studio.core.jobs.orders import ForgettingOrder
from studio.core.paths import Home


def build(name: str = "pirate", *, is_right: bool = False) -> ForgettingReport:
    order = ForgettingOrder(base="/m/base", adapters={name: "/a"}, probes=(Probe(prompt="x"),))
    answered = [
        ProbeAnswered(
            area="arithmetic",
            prompt=f"=1+{number}|?",
            expected=str(number),
            answers={"base": str(number), name: "<b>Arr</b>"},
            right={"base": True, name: is_right},
            divergences={"base": 0.0, name: 0.75},
            done_probes=number,
            total_probes=3,
        )
        for number in range(1, 4)
    ]
    return build_report(order, answered)


def test_checks_are_kept_newest_first_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    store = ReportStore(Home(tmp_path))
    assert store.list() == []
    first = store.save(build().model_copy(update={"time_seconds": 1.0}))
    again = store.save(build().model_copy(update={"time_seconds": 1.0}))
    last = store.save(build(is_right=True))
    assert len({first, again, last}) == 3
    assert store.list()[0][0] == last
    assert [report.is_broken for _, report in store.list()] == [False, True, True]
    assert store.load(first) == build().model_copy(
        update={"time_seconds": 1.0, "answered": store.load(first).answered}
    )
    again.write_text("{", encoding="utf-8")
    assert len(store.list()) == 2
    with pytest.raises(FileUnusable, match="damaged"):
        store.load(again)
    with pytest.raises(FileUnusable, match="no kept check"):
        store.delete(tmp_path / "other.json")
    store.delete(first)
    store.delete(first)
    assert [path for path, _ in store.list()] == [last]


def test_files_hold_all_and_no_sign_of_them_is_run_or_drawn() -> None:
    report = build("a|b")
    (line, *_) = csv.DictReader(write_report(report, "csv").splitlines())
    assert line["prompt"] == "'=1+1|?"
    assert (line["base: right"], line["a|b: right"], line["a|b: KL"]) == ("True", "False", "0.75")
    text = write_report(report, "md")
    assert "| **broke** | 0 of 3 | 0.750 |" in text
    assert r"a\|b" in text
    assert r"\<b\>Arr" in text
    assert "No longer right" not in write_report(build(is_right=True), "md")
