"""What a configuration leaves to the defaults of its family is read from the matrices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.core.memory.anatomy import Anatomy, read_anatomy
from studio.core.weights.layers import build_layers
from studio.core.weights.shapes import build_tensors
from tests.core.memory.published import gemma, qwen3

GEMMA_3_4B = gemma("gemma3_text", 256, 2560, 34, 8, 4, 10240, 262208)
SPARSE: dict[str, Any] = {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "model_type": "gemma3_text",
    "num_hidden_layers": 34,
    "sliding_window": 1024,
}
"""All that the published configuration of Gemma 3 4B says about its text model."""
SIZES = ("width", "vocabulary", "heads", "key_heads", "head", "inner")


def read(full: dict[str, Any], stated: dict[str, Any]) -> Anatomy:
    """The anatomy of a model that also sees; its files are those of ``full``."""
    tensors = [
        replace(tensor, name=f"language_model.{tensor.name}") for tensor in build_tensors(full)
    ]
    config = {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": stated,
    }
    return read_anatomy(build_layers(Path(), config, tuple(tensors)), config)


@pytest.mark.parametrize("stated", [SPARSE, {"model_type": "gemma3_text"}])
def test_sizes_that_are_not_stated_are_those_of_the_matrices(stated: dict[str, Any]) -> None:
    whole, found = read(GEMMA_3_4B, GEMMA_3_4B), read(GEMMA_3_4B, stated)
    assert {name: getattr(found, name) for name in SIZES} == {
        name: getattr(whole, name) for name in SIZES
    }
    assert found.query == 2048


def test_what_is_stated_counts() -> None:
    config = qwen3(1024, 2, 16, 8, 3072, 151936)
    found = read_anatomy(build_layers(Path(), config, build_tensors(config)), config)
    assert [getattr(found, name) for name in SIZES] == [1024, 151936, 16, 8, 128, 3072]
