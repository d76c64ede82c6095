"""JSON from files that anybody may have written or damaged."""

from __future__ import annotations

import json
from typing import Any


def parse_json(content: str | bytes) -> Any:
    """Returns the value that JSON text stands for.

    Raises:
        ValueError: It is no JSON, not UTF-8, or nested deeper than Python follows, which ``json``
            itself reports as a fault of the program.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested far too deeply") from error
