"""Whether the program may use the network, and the refusal in words where it may not."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from studio.core.errors import Offline
from studio.core.files import read_shared
from studio.core.json_text import parse_json
from studio.core.paths import Home

OFFLINE_VARIABLE = "LORA_STUDIO_OFFLINE"
"""Set to 1 by ``--offline``; children inherit it. 0 means that the network may be used."""

OFFLINE_SETTING = "stay_offline"
"""Name of the preference behind the switch on the Settings page."""

_HUB_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_YES = {"1", "ON", "YES", "TRUE"}

ClosedBy = Literal["option", "environment", "setting"]
_REASONS: dict[ClosedBy, tuple[str, str]] = {
    "option": (
        "the program was started with --offline",
        "Start it again without --offline.",
    ),
    "environment": (
        "HF_HUB_OFFLINE is set on this computer",
        "Remove the environment variable HF_HUB_OFFLINE and start the program again.",
    ),
    "setting": (
        "“Stay offline” is switched on",
        "Switch “Stay offline” off on the Settings page.",
    ),
}


class Gate:
    """Says whether network calls are allowed; every one of them asks here first.

    It is open unless something closes it: the option ``--offline``, the variable
    ``HF_HUB_OFFLINE``, or the user's setting, which may change while the program runs.
    """

    def __init__(self, fixed: ClosedBy | None = None, *, is_kept_offline: bool = False) -> None:
        self._fixed = fixed
        self._is_kept_offline = is_kept_offline

    @property
    def closed_by(self) -> ClosedBy | None:
        """What keeps the gate closed; None while it is open."""
        return self._fixed or ("setting" if self._is_kept_offline else None)

    @property
    def is_open(self) -> bool:
        """Whether the network may be used now."""
        return self.closed_by is None

    @property
    def is_fixed(self) -> bool:
        """Whether it stays closed until the program is started in another way."""
        return self._fixed is not None

    def keep_offline(self, is_kept_offline: bool) -> None:
        """Closes or opens the gate as the user's setting says."""
        self._is_kept_offline = is_kept_offline

    def describe(self) -> str:
        """Returns one sentence that says why the gate is closed; empty while it is open."""
        closed_by = self.closed_by
        return "" if closed_by is None else f"Offline: {_REASONS[closed_by][0]}."

    def check(self, wish: str) -> None:
        """Returns quietly when the network may be used for ``wish`` ("search the hub").

        Raises:
            Offline: The gate is closed.
        """
        closed_by = self.closed_by
        if closed_by is not None:
            reason, remedy = _REASONS[closed_by]
            raise Offline(
                f"The network is needed to {wish}, but {reason}.",
                f"{remedy} Models and data that are already on this machine work without.",
            )

    def check_host(self, host: str, wish: str) -> None:
        """Returns quietly when ``host`` may be asked: this machine always, others as in ``check``.

        What goes to a server on this machine goes to no network.

        Raises:
            Offline: ``host`` is another machine, and the gate is closed.
        """
        if not is_this_machine(host):
            self.check(wish)


def is_this_machine(host: str) -> bool:
    """Returns whether a host name or address can only mean the machine itself (loopback)."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_gate(home: Home, environment: Mapping[str, str] | None = None) -> Gate:
    """Returns the gate as the environment and the user's setting in ``home`` want it."""
    env = os.environ if environment is None else environment
    return Gate(find_fixed(env), is_kept_offline=read_setting(home.preferences))


def find_fixed(environment: Mapping[str, str]) -> ClosedBy | None:
    """Returns what in the environment closes the gate, if anything does.

    Our own variable is the program's word for its children and wins: in a child the hub's variable
    is always set, because libraries there never go online by themselves.
    """
    own = environment.get(OFFLINE_VARIABLE, "").strip().upper()
    if own:
        return "option" if own in _YES else None
    asked = any(environment.get(name, "").strip().upper() in _YES for name in _HUB_VARIABLES)
    return "environment" if asked else None


def read_setting(preferences: Path) -> bool:
    """Returns whether the user switched "Stay offline" on; a damaged file may have said so."""
    try:
        values = parse_json(read_shared(preferences))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return not isinstance(values, dict) or values.get(OFFLINE_SETTING) is True
