"""The gate: who closes it, what it says, and that nothing goes around it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from studio.core.errors import Offline
from studio.core.network.fetch import fetch
from studio.core.network.gate import Gate, find_fixed, find_gate, read_setting
from studio.core.paths import Home


@pytest.mark.parametrize(
    ("environment", "closed_by"),
    [
        ({}, None),
        ({"HF_HUB_OFFLINE": "1"}, "environment"),
        ({"HF_HUB_OFFLINE": "yes"}, "environment"),
        ({"TRANSFORMERS_OFFLINE": "true"}, "environment"),
        ({"HF_HUB_OFFLINE": "0"}, None),
        ({"LORA_STUDIO_OFFLINE": "1"}, "option"),
        ({"LORA_STUDIO_OFFLINE": "0", "HF_HUB_OFFLINE": "1"}, None),
    ],
)
def test_the_environment_closes_the_gate(
    environment: dict[str, str], closed_by: str | None
) -> None:
    assert find_fixed(environment) == closed_by


@pytest.mark.parametrize(
    ("text", "is_offline"),
    [
        ('{"stay_offline": true}', True),
        ('{"stay_offline": false}', False),
        ("{}", False),
        ("[", True),
        ("[]", True),
        ("", True),
    ],
)
def test_the_setting_is_read_and_a_damaged_file_closes_the_gate(
    tmp_path: Path, text: str, is_offline: bool
) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(text)
    assert read_setting(path) == is_offline
    assert read_setting(tmp_path / "none") is False


def test_the_users_switch_holds_at_once_but_not_over_the_option() -> None:
    gate = Gate()
    gate.check("search the hub")
    gate.keep_offline(True)
    with pytest.raises(Offline, match="needed to search the hub, but “Stay offline”"):
        gate.check("search the hub")
    gate.keep_offline(False)
    assert gate.is_open
    fixed = Gate("option")
    fixed.keep_offline(False)
    assert not fixed.is_open
    assert fixed.is_fixed
    assert "--offline" in fixed.describe()


def test_a_closed_gate_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    gate = find_gate(Home(tmp_path), {"HF_HUB_OFFLINE": "1"})
    with pytest.raises(Offline, match="HF_HUB_OFFLINE"):
        fetch(gate, "https://example.invalid/", "look")
