"""What llama.cpp itself says to a file: logits and token ids; tests skip where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

_F32 = 0


def open_model(path: Path, *, lora: Path | None = None, context: int = 64) -> Any:
    """Returns the model in a GGUF file, its cache kept in fp32; skips without llama-cpp-python."""
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="llama-cpp-python is not installed: nobody to compare GGUF files with"
    )
    return llama_cpp.Llama(
        str(path),
        n_ctx=context,
        n_batch=context,
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        type_k=_F32,
        type_v=_F32,
        flash_attn=False,
        lora_path=None if lora is None else str(lora),
        verbose=False,
    )


def compute_logits(model: Any, ids: list[int]) -> np.ndarray[Any, Any]:
    """Returns the logits of ``ids``, ``(tokens, vocabulary)``."""
    model.reset()
    model.eval(ids)
    return np.array(model.scores[: len(ids)])


def tokenize(model: Any, text: str, *, adds_marks: bool = False) -> list[int]:
    """Returns the tokens of ``text``, those with a role read as such."""
    return list(model.tokenize(text.encode(), add_bos=adds_marks, special=True))


def measure_error(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    """Returns the length of the difference relative to the length of what was expected."""
    return float(np.linalg.norm(expected - found) / np.linalg.norm(expected))
