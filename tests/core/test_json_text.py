"""Whatever is wrong with JSON is a fault of the text, never of the program."""

from __future__ import annotations

import pytest

from studio.core.json_text import parse_json


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe\xfd"])
def test_it_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_values_come_as_json_says() -> None:
    assert parse_json(b'{"a": [1, null, "\xc3\xa4"]}') == {"a": [1, None, "ä"]}
