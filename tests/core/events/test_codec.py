"""Every fact survives the way to the journal and back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.events import types
from studio.core.events.codec import decode, encode
from studio.core.events.types import Event


def _build_any(kind: type[Event]) -> st.SearchStrategy[Event]:
    for known in Event.kinds.values():
        known.model_rebuild()  # built late, and one that is not yet has no fields to fill
    fields = {
        name: st.from_type(field.annotation)  # type: ignore[arg-type]
        for name, field in kind.model_fields.items()
    }
    return st.fixed_dictionaries(fields).map(kind.model_validate)


any_event = st.sampled_from(sorted(Event.kinds.values(), key=lambda kind: kind.__name__)).flatmap(
    _build_any
)


@pytest.mark.parametrize("kind", Event.kinds.values(), ids=lambda kind: kind.__name__)
def test_every_type_can_be_drawn_and_comes_back_equal(kind: type[Event]) -> None:
    @given(_build_any(kind))
    def check(event: Event) -> None:
        back = decode(encode(event))
        assert type(back) is kind
        assert repr(back) == repr(event)  # equality would fail on NaN, which must survive

    check()


@given(any_event)
def test_a_line_is_one_line_of_json_that_every_reader_accepts(event: Event) -> None:
    line = encode(event)
    assert "\n" not in line

    def refuse(word: str) -> None:
        raise AssertionError(word)

    fields = json.loads(line, parse_constant=refuse)
    assert fields["event"] == type(event).__name__


def test_losses_that_are_no_number_survive() -> None:
    for loss in (math.nan, math.inf, -math.inf):
        event = types.ValidationFinished(
            step=1, loss=loss, supervised_tokens=1, is_best=False, seconds=1
        )
        back = decode(encode(event))
        assert isinstance(back, types.ValidationFinished)
        assert str(back.loss) == str(loss)


def test_a_text_that_reads_not_a_number_stays_text() -> None:
    event = types.NoticeRaised(code="NaN", message="Infinity")
    assert decode(encode(event)) == event


def test_an_unknown_type_is_no_event_and_no_error() -> None:
    assert decode('{"event":"MoonRose","time_seconds":1,"phase":"full"}') is None
    assert decode('{"time_seconds":1,"event":"MoonRose"}') is None


def test_fields_of_a_later_version_are_ignored() -> None:
    assert decode('{"event":"RunStopped","step":3,"mood":"good"}') == types.RunStopped(step=3)


def test_the_type_may_stand_anywhere_in_the_line() -> None:
    assert decode('{"step": 3, "event": "RunStopped"}') == types.RunStopped(step=3)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"event":7}',
        '{"event":"RunStopped"}',
        '{"event":"RunStopped","step":"three"}',
        '{"event":"RunStopped","step":3',
        '{"event":"MoonRose"',
        b"\xff\xfe",
        b'{"event":"\xff"}',
        "[" * 100_000,
    ],
)
def test_a_broken_line_is_an_error(line: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(line)
