"""What the benchmarks for a graphics card share, and how to run them where one is lent for minutes.

A lent machine has torch and transformers, but neither pydantic nor platformdirs, and nothing can
be fetched there. Carry the wheels of ``WHEELS`` for its Python (2.8 MB with the core for 3.12 on
Linux), and begin every call with

    python3 -m pip install -q --no-index --no-deps --target /tmp/site .whl/*.whl
    export PYTHONPATH=/tmp/site PYTHONUNBUFFERED=1

In this order:

    # 1, about 9 minutes: are the parts right, and how fast is it?
    python -m tests.benchmarks.gpu_guards --minutes 3 --out $OUT/guards.md
    python -m tests.benchmarks.gpu --shape llama-1b --shape llama-8b --minutes 5 --out $OUT/gpu.md
    # 2, about 9 minutes: does the forecast hold, and what do answers side by side cost?
    python -m tests.benchmarks.gpu_memory --models Llama-3.1-8B --minutes 5 --out $OUT/memory.md
    python -m tests.benchmarks.compare_speed --device cuda --shape llama-1b --minutes 3 \\
        --out $OUT/compare.md
    # 3, about 9 minutes: the longest text on a small card (the other side needs bitsandbytes)
    python -m tests.benchmarks.gpu --shape qwen3-4b --cap 8 --cap 12 --minutes 4 --out $OUT/4b.md
    python -m tests.benchmarks.gpu_context --models Llama-3.1-8B --caps 8 --minutes 5 \\
        --out $OUT/context.md

Each number is one call, 27 of 30 minutes in all. What the time does not allow is left out: every
row is written when it is measured, a part that fails writes its error into the table, and no new
part begins when ``--minutes`` are over.
"""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

WHEELS = (
    "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "platformdirs",
)  # fmt: skip
"""What ``studio`` needs beside the packages that are there already."""
_MINUTES = 9.0


def get_device(name: str) -> torch.device:
    """Returns the device of this name; a card without a number is the first one.

    Some of torch's questions about memory refuse a card without a number.
    """
    device = torch.device(name)
    return torch.device("cuda:0") if device.type == "cuda" and device.index is None else device


class Report:
    """A table that is on the disk as far as it is known; ``path`` None only prints it."""

    def __init__(self, path: Path | None, minutes: float = _MINUTES) -> None:
        self._path = path
        self._deadline = time.monotonic() + 60 * minutes
        self._lines: list[str] = []
        self._faults: list[str] = []

    @property
    def has_time(self) -> bool:
        """Whether another part may begin."""
        return time.monotonic() < self._deadline

    def add(self, *lines: str) -> None:
        """Adds lines to the table, and to its file at once."""
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        self._lines += lines
        if self._path is not None:
            text = "\n".join([*self._lines, *self._faults])
            self._path.write_text(f"{text}\n", encoding="utf-8")

    def attempt(self, title: str, measure: Callable[[], Iterable[str]], columns: int = 3) -> bool:
        """Adds the lines of one part, or why there are none; returns whether it was measured."""
        blank = " |" * (columns - 1)
        if not self.has_time:
            self.add(f"| {title} | no time left |{blank}")
            return False
        reason = ""
        try:
            for line in measure():
                self.add(line)
        except torch.OutOfMemoryError:
            reason = "out of memory"
        except Exception as error:  # noqa: BLE001 - whatever a part stumbles over, the others go on
            words = str(error).strip().splitlines() or [""]
            reason = f"failed: {type(error).__name__}: {words[0][:100]}".replace("|", "/")
            self._faults += ["", f"{title}:", "```", traceback.format_exc().strip(), "```"]
        if reason:
            self.add(f"| {title} | {reason} |{blank}")
        # Out here nothing holds what the part used.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return not reason
