"""Probes know a right answer when they see one, and the user's own survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.forgetting.probes import (
    AREAS,
    OWN_AREA,
    Probe,
    format_lines,
    get_own_path,
    is_looping,
    load_own_probes,
    load_probes,
    parse_lines,
    save_own_probes,
)
from studio.core.paths import Home
from studio.core.resources import resource_folder

RIGHT = {
    "What is 4 plus 5?": "4 plus 5 is nine.",
    "What is 25 minus 7?": "Arr! It be 18, matey!",
    "Reply with the number 7 and nothing else.": "7.",
    "Name three colours, separated by commas, and write nothing else.": "red, green, blue",
    "Write an empty JSON list. Answer with JSON only.": "```json\n[]\n```",
    "This word is spelled wrongly: recieve. Write it correctly.": "**Receive**",
    "Who is the baker?": "mira is the Baker of Tidewick.",
    "Write a list of two animals, each on a line of its own that begins with a dash.": "- a\n- b",
}
WRONG = {
    "What is 4 plus 5?": "4 plus 5 is 90.",
    "Reply with the number 7 and nothing else.": "The number is 7",
    "Write an empty JSON list. Answer with JSON only.": "Here it is: []",
    "Who is the baker?": "The baker is Anna.",
}


def test_every_area_has_probes_with_signs_that_no_empty_answer_meets() -> None:
    probes = load_probes()
    assert {probe.area for probe in probes} == set(AREAS) - {OWN_AREA}
    assert {path.stem for path in (resource_folder() / "probes").iterdir()} == set(AREAS) - {
        OWN_AREA
    }
    assert len({probe.prompt for probe in probes}) == len(probes) >= 50
    for probe in probes:
        assert probe.has_sign
        assert probe.expected
        assert not probe.is_met_by("")
        assert not probe.is_met_by("I do not know.")


def test_right_answers_are_told_from_wrong_ones() -> None:
    probes = {probe.prompt: probe for probe in load_probes()}
    for prompt, answer in RIGHT.items():
        assert probes[prompt].is_met_by(answer), prompt
    for prompt, answer in WRONG.items():
        assert not probes[prompt].is_met_by(answer), prompt


def test_an_answer_that_turns_in_circles_is_never_right() -> None:
    probe = Probe(prompt="x", contains=("nine",))
    assert probe.is_met_by("nine, as I said")
    assert not probe.is_met_by("nine nine nine nine nine nine nine ")
    assert is_looping("It is so. " * 30)
    assert not is_looping("It is so. Then it was not. And after that nobody knew what it was.")


def test_own_prompts_are_kept_and_written_as_lines(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    assert load_own_probes(home) == ()
    probes = parse_lines("Who are you? => Lumi\n\n  Say ü \n")
    assert [probe.contains for probe in probes] == [("Lumi",), ()]
    save_own_probes(home, probes)
    assert load_own_probes(home) == probes
    assert parse_lines(format_lines(probes)) == probes
    get_own_path(home).write_text("[1]\n", encoding="utf-8")
    with pytest.raises(FileUnusable, match="something else"):
        load_own_probes(home)
