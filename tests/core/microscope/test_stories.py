"""Which rows stand out: forgotten, never learnt and mislabelled ones are told from hard ones."""

from __future__ import annotations

import csv
import random
from array import array
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.microscope.exclusion import build_recipe_without
from studio.core.microscope.files import LOSSES_MAGIC, LossColumns, pack_step, read_origins
from studio.core.microscope.report import ReportReader, list_places, save_csv
from studio.core.microscope.stories import count_forgotten, pick, tell_stories
from studio.core.microscope.words import describe_preference, describe_story
from studio.core.recipe.load import parse_recipe
from studio.core.runs.layout import RowFiles
from tests.core.microscope.row_files import write_rows


@pytest.mark.parametrize(
    ("losses", "shortfalls", "count"),
    [
        ((3.0,), (1.0,), 0),
        ((3.0, 2.9, 2.8), (1.0, 1.0, 1.0), 0),
        ((3.0, 0.5, 0.6), (1.0, 0.2, 0.2), 0),  # rose by less than half of the fall
        ((3.0, 0.5, 2.0), (1.0, 0.2, 0.8), 1),
        ((0.02, 0.9), (0.0, 0.7), 1),  # right at first sight, then wrong
        ((0.02, 0.05), (0.0, 0.1), 0),  # hardly worth a word
        ((3.0, 0.5, 2.5, 0.4, 2.0), (1.0, 0.1, 1.0, 0.1, 1.0), 2),
        ((3.0, 0.5, 2.5), (1.0, 0.1, 0.0), 0),  # a high loss, but still its own choice
    ],
)
def test_a_row_is_forgotten_when_it_was_learnt_and_lost(
    losses: tuple[float, ...], shortfalls: tuple[float, ...], count: int
) -> None:
    assert count_forgotten(losses, shortfalls) == count


def _train(wrong: set[int], stuck: set[int], rows: int = 600, epochs: int = 3) -> LossColumns:
    """Returns a run whose rows are learnt over time; wrong ones lag far behind, late as well."""
    numbers, columns = random.Random(0), LossColumns()
    for epoch in range(epochs):
        for place, row in enumerate(numbers.sample(range(rows), rows)):
            ease = 4.0 * 0.3 ** (epoch + place / rows) + 0.1
            loss = ease * numbers.uniform(0.5, 1.5)
            if row in wrong:
                loss = ease + numbers.uniform(3, 5)
            elif row in stuck:
                loss = 1.5 + 0.001 * row
            columns.documents.append(row)
            columns.losses.append(loss)
            columns.shortfalls.append(max(0.0, loss - 0.4))
    return columns


def test_wrong_labels_are_suspected_and_stubborn_rows_are_never_learnt() -> None:
    wrong, stuck = {7, 77, 177, 333, 599}, {50, 60}
    stories = tell_stories(_train(wrong, stuck))
    assert wrong <= {one.document for one in pick(stories, "suspects")} <= wrong | stuck
    assert {one.document for one in pick(stories, "never_learnt")} >= stuck
    worst = pick(stories, "worst", 5)
    assert {one.document for one in worst} == wrong
    assert [one.last for one in worst] == sorted((one.last for one in worst), reverse=True)
    assert all(len(one.losses) == 3 for one in stories)


def test_rows_that_were_hard_only_because_the_run_began_are_not_suspected() -> None:
    assert pick(tell_stories(_train(set(), set())), "suspects") == []
    once = tell_stories(_train({3}, set(), epochs=1))
    assert not any(one.is_suspect or one.is_never_learnt or one.forgotten for one in once)


def test_nothing_known_tells_nothing_and_a_cancelled_look_ends() -> None:
    assert tell_stories(LossColumns()) == []
    assert tell_stories(_train(set(), set()), lambda: True) == []


def test_words_say_what_happened() -> None:
    columns = LossColumns(array("I", [1, 2, 1]), array("f", [3, 1, 0.5]), array("f", [2, 0, 0]))
    first, second = tell_stories(columns)
    assert describe_story(first).startswith("Seen 2 times; the loss went from 3.00 to 0.50")
    assert describe_preference(first) == "agrees"
    assert describe_story(second).startswith("Seen once, with a loss of 1.00.")


def test_the_file_is_read_as_it_grows_and_again_when_it_was_shortened(tmp_path: Path) -> None:
    path = tmp_path / "row_losses.bin"
    columns = LossColumns()
    assert not columns.read_more(path)
    parts = [LOSSES_MAGIC, *(pack_step(step, [(step, step / 2, 0.25)]) for step in range(5))]
    path.write_bytes(b"".join(parts[:3]) + b"abc")  # the end is still being written
    assert columns.read_more(path)
    assert columns.losses.tolist() == [0.0, 0.5]
    assert not columns.read_more(path)
    path.write_bytes(b"".join(parts))
    assert columns.read_more(path)
    assert list(columns.documents) == [0, 1, 2, 3, 4]
    path.write_bytes(b"".join([*parts[:3], pack_step(2, [(9, 7.0, 0.0)])]))
    assert columns.read_more(path)
    assert list(columns.documents) == [0, 1, 9]
    path.write_bytes(b"".join([*parts[:3], *(pack_step(2, [(8, 1.0, 0.0)]),) * 1, *parts[4:]]))
    fresh = LossColumns()
    fresh.read_more(path)
    assert list(fresh.documents) == [0, 1, 8, 3, 4]


def test_a_file_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "row_losses.bin"
    path.write_bytes(b"GIF89a, and something else")
    with pytest.raises(FileUnusable, match="does not hold what rows cost"):
        LossColumns().read_more(path)
    with pytest.raises(FileUnusable, match="does not hold what rows cost"):
        read_origins(path)


def test_a_report_names_rows_and_can_be_saved(tmp_path: Path) -> None:
    write_rows(tmp_path, {3: (3.0, 0.5, 2.0), 1: (2.0, 1.0, 0.4)})
    reader = ReportReader(tmp_path)
    report = reader.read()
    assert reader.read() is report
    assert report.counts == {"worst": 2, "suspects": 0, "forgotten": 1, "never_learnt": 0}
    first = report.pick("worst")[0]
    origin = report.find_origin(first)
    assert origin is not None
    assert (first.document, origin.number, origin.mark) == (3, 4, f"{3:032x}")
    assert [place.document for place in list_places(report, report.pick("worst"))] == [1, 3]
    save_csv(report, report.pick("worst"), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] | {"row": "4", "seen": "3", "losses": "3.0000 0.5000 2.0000"} == rows[0]
    assert RowFiles(tmp_path).losses.stat().st_size == 8 + 3 * 8 * 3


def test_the_next_recipe_leaves_rows_out_and_names_files_wholly(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    recipe = parse_recipe(
        {
            "name": "tone",
            "base": {"model": "owner/model"},
            "data": {"train": [{"source": "rows.jsonl"}], "exclude": ["a" * 32]},
        }
    )
    again = build_recipe_without(recipe, ["b" * 32, "a" * 32], tmp_path)
    assert again.data.exclude == ("a" * 32, "b" * 32)
    assert again.data.train[0].source == str(tmp_path / "rows.jsonl")
    assert again.base.model == "owner/model"
    assert again.adapter.resume_from is None
    further = build_recipe_without(again, [], tmp_path, tmp_path / "adapter")
    assert further.adapter.resume_from == str(tmp_path / "adapter")
    assert again.name == further.name == "tone (fewer rows)"
