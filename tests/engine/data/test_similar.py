"""Rows that are nearly the same: as all pairs compared one by one, and without false alarms."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.encode_source import SourceReader
from studio.engine.data.problems import ProblemLog
from studio.engine.data.similar import LEAST_SHARE, find_similar, measure_share
from studio.engine.data.whole import WholeCheck
from tests.engine.data.conftest import chat


def build_rows(chance: random.Random, originals: int) -> list[NDArray[np.int32]]:
    """Return random rows; behind each third a copy in which more and more tokens differ."""
    rows = []
    for number in range(originals):
        row = np.array([chance.randrange(5000) for _ in range(chance.randrange(40, 200))], np.int32)
        rows.append(row)
        if number % 3 == 0:
            copy = row.copy()
            for _ in range(number % 9):
                copy[chance.randrange(len(copy))] = chance.randrange(5000)
            rows.append(copy)
    return rows


def test_nearly_equal_rows_are_those_that_a_comparison_of_all_pairs_finds() -> None:
    rows = build_rows(random.Random(3), 240)
    wanted = set()
    for place in range(len(rows)):
        for other in range(max(0, place - 3), place):
            if measure_share(rows[place], rows[other]) >= LEAST_SHARE:
                wanted.add(place)
    found = find_similar(rows)
    assert len(wanted) > 30
    assert {one.place for one in found} <= wanted
    assert len(found) >= 0.95 * len(wanted)
    for one in found:
        assert one.share == measure_share(rows[one.place], rows[one.other])
        assert one.other < one.place


def test_the_share_is_that_of_sets() -> None:
    one, other = np.arange(20, dtype=np.int32), np.arange(4, 24, dtype=np.int32)
    runs = [{tuple(row[i : i + 4]) for i in range(17)} for row in (one.tolist(), other.tolist())]
    wanted = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    assert measure_share(one, other) == wanted
    assert measure_share(one[:2], other[:2]) == 0.0


def test_a_shared_instruction_makes_no_row_similar() -> None:
    chance = random.Random(5)
    instruction = np.arange(300, dtype=np.int32)
    rows = [
        np.concatenate([instruction, np.array(chance.sample(range(1000, 9000), 30), np.int32)])
        for _ in range(200)
    ]
    assert find_similar(rows) == []
    assert find_similar([]) == []


def test_pairs_are_told_with_their_places(
    chat_tokenizer: Any,
    write_rows: Callable[..., Path],
    settings_for: Callable[..., DataSettings],
) -> None:
    story = "The harbour lies below the hill, and every evening the ships come home with fish."
    path = write_rows(
        [
            chat("Tell me of the harbour, the hill and the town behind the wall.", story),
            chat("Who are you?", "A pirate, and nobody asks a pirate twice about his treasure."),
            chat("Tell me of the harbour, the hill and the town behind the wall!", story),
            chat("Who are you?", "A pirate, and nobody asks a pirate twice about his treasure."),
        ]
    )
    reader = SourceReader(settings_for(path), chat_tokenizer, path.parent, (), None)
    steps = reader.read(settings_for(path).train[0])
    while True:
        try:
            next(steps)
        except StopIteration as end:
            table = end.value
            break
    log = ProblemLog()
    whole = WholeCheck([table], log)
    whole.check(None)
    whole.check_similar()
    problem = next(one for one in log.problems() if one.code == "similar_rows")
    assert problem.count == 1
    assert whole.found["similar_rows"].tolist() == [[0, 2]]
    assert "line 3 is " in problem.places[0]
    assert "line 1" in problem.places[0]
