"""One click changes exactly what mends the finding, and is not offered where it would not."""

from __future__ import annotations

from typing import get_args

import pytest

from studio.core.recipe.parts import FORMAT_PARTS, fill_columns, find_missing
from studio.core.recipe.remedies import CORRECTABLE_CODES, LEADS, DataFacts, find_remedies
from studio.core.recipe.schema_data import Finding
from studio.engine.data.formats import FORMATS
from studio.engine.data.problems import KINDS

FACTS = DataFacts(longest_tokens=900, context_tokens=512, max_tokens=256, source=0)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("answer_too_long", [{"data.max_tokens": 512}]),
        ("broken_rows", [{"data.train": [{"source": "a", "skip_broken": True}]}]),
        ("duplicate_rows", [{"data.leave_out": ["duplicate_rows"]}]),
        ("left_out_by_choice", [{"data.leave_out": [], "data.exclude": []}]),
        ("template_refused", [{"data.template": "plain"}]),
        ("pad_is_end", []),
    ],
)
def test_each_finding_has_its_remedies(code: str, changes: list[dict[str, object]]) -> None:
    found = find_remedies(code, {"train": [{"source": "a"}]}, FACTS)
    assert [dict(one.changes) for one in found] == changes


def test_there_is_a_way_out_of_every_finding() -> None:
    # These are told for information: nothing about them is wrong.
    notes = {"pad_is_end", "system_merged", "left_out_by_choice", "quick_tokens_differed"}
    # No change of settings makes up for answers that are not there: the rows are looked at.
    looked_at = {"one_answer_dominates"}
    ways = set(LEADS) | CORRECTABLE_CODES | notes | looked_at
    data = {"train": [{"source": "a"}], "think": "auto"}
    lost = [code for code in KINDS if code not in ways and not find_remedies(code, data, FACTS)]
    assert lost == []
    plain = DataFacts(is_plain=True)
    assert find_remedies("template_refused", data, plain) == ()


def test_what_is_done_already_is_not_offered_again() -> None:
    assert find_remedies("email_address", {"leave_out": ["email_address"]}, FACTS) == ()
    assert find_remedies("text_divided", {}, DataFacts(900, 512, 512)) == ()


def test_the_parts_for_people_are_those_of_the_engine() -> None:
    assert set(FORMAT_PARTS) == set(FORMATS)
    for key, one in FORMATS.items():
        assert {part.key for part in FORMAT_PARTS[key]} == set(one.parts)
        required = {part.key for part in FORMAT_PARTS[key] if part.is_required}
        assert required == set(one.required)


def test_columns_of_another_format_are_dropped() -> None:
    assert fill_columns("prompt", {"prompt": "q", "messages": "m", "system": " "}) == {
        "prompt": "q"
    }
    assert [part.key for part in find_missing("prompt", {"prompt": "q"})] == ["answer"]


def test_every_code_that_can_be_left_out_is_a_finding() -> None:
    assert set(get_args(Finding)) <= set(KINDS)
