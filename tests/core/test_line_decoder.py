"""Which encoding the lines of a file turn out to have."""

from __future__ import annotations

import codecs

import pytest

from studio.core.line_decoder import LineDecoder, decode_beginning


def test_the_first_line_beyond_ascii_decides() -> None:
    told: list[bool] = []
    windows = LineDecoder(lambda: told.append(True))
    assert windows.decode(b"plain\n") == "plain\n"
    assert windows.encoding is None
    assert windows.decode("größer … 28 €".encode("cp1252")) == "größer … 28 €"
    # what would be right in both is read as the line before
    assert windows.decode("ü".encode()) == "Ã¼"
    assert (windows.encoding, told) == ("cp1252", [True])
    usual = LineDecoder()
    assert usual.decode("größer".encode()) == "größer"
    with pytest.raises(UnicodeDecodeError):
        usual.decode("größer".encode("cp1252"))


def test_bytes_of_neither_encoding_are_refused_and_shown_as_marks() -> None:
    with pytest.raises(UnicodeDecodeError):
        LineDecoder().decode(b"\x81")
    assert decode_beginning(b"a\n\x81\n") == "a\n\N{REPLACEMENT CHARACTER}\n"


def test_the_beginning_of_a_file_is_shown_in_its_encoding() -> None:
    text = "Frage;Antwort\r\nWie heißt sie?;Zoë\r\n"
    for raw in (text.encode(), codecs.BOM_UTF8 + text.encode(), text.encode("cp1252")):
        assert decode_beginning(raw) == text
