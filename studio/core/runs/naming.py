"""What tells runs of one name apart in lists, legends and menus: when they were made."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from studio.core.runs.record import RunRecord

_SAME_DAY = ("%H:%M", "%H:%M:%S")
_OTHER_DAYS = ("%d %b %H:%M", "%d %b %Y %H:%M:%S")


def build_titles(records: Iterable[RunRecord]) -> dict[Path, str]:
    """Returns a title for each run by its folder: its name, with a time where several share it."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.name].append(record)
    return {
        record.folder: f"{name} ({mark})" if mark else name
        for name, group in groups.items()
        for record, mark in zip(group, _find_marks(group), strict=True)
    }


def _find_marks(group: Sequence[RunRecord]) -> list[str]:
    """Returns the shortest times that differ; what no time tells apart is numbered."""
    if len(group) == 1:
        return [""]
    moments = [time.localtime(record.created_seconds) for record in group]
    is_one_day = len({moment[:3] for moment in moments}) == 1
    marks: list[str] = []
    for form in _SAME_DAY if is_one_day else _OTHER_DAYS:
        # An imported run was made when its original was, which may be here as well.
        marks = [
            f"{time.strftime(form, moment)}{', imported' if record.is_imported else ''}"
            for moment, record in zip(moments, group, strict=True)
        ]
        if len(set(marks)) == len(group):
            return marks
    seen: Counter[str] = Counter()
    order = sorted(range(len(group)), key=lambda place: group[place].folder.name)
    for place in order:
        mark = marks[place]
        seen[mark] += 1
        marks[place] = mark if seen[mark] == 1 else f"{mark}, {seen[mark]}"
    return marks
