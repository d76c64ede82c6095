"""Layers that read the same input share what the first computed, and nothing else."""

from __future__ import annotations

import torch
from torch import nn

from studio.engine.models.siblings import SameInput, iter_siblings
from tests.engine.lora.tiny_models import build_model


def test_siblings_are_found_by_the_names_of_many_families() -> None:
    found = {
        family: sorted(len(one) for one in iter_siblings(build_model(family)))
        for family in ("llama", "gpt_neox")
    }
    assert found == {"llama": [2, 2, 3, 3], "gpt_neox": []}


def test_a_layer_under_two_names_is_no_sibling_of_itself() -> None:
    parent = nn.Module()
    parent.gate_proj = parent.up_proj = nn.Linear(2, 2)
    assert list(iter_siblings(parent)) == []


def test_what_is_kept_is_taken_once_by_each_other_layer_for_the_same_tensor() -> None:
    same: SameInput[str] = SameInput(3)
    inputs, reason = torch.zeros(2), object()
    assert same.find(0, inputs, reason) is None
    assert same.keep(0, inputs, reason, "product") == "product"
    assert same.find(0, inputs, reason) is None  # it has its own already
    assert same.find(1, inputs.clone(), reason) is None
    assert same.find(1, inputs, object()) is None
    assert same.find(1, inputs, reason) == "product"
    assert same.find(1, inputs, reason) is None
    assert same.is_waiting
    assert same.find(2, inputs, reason) == "product"
    assert not same.is_waiting
    same.keep(1, inputs, reason, "old")
    inputs.add_(1)
    assert same.find(2, inputs, reason) is None
    with torch.inference_mode():
        uncounted = torch.zeros(2)
        same.keep(1, uncounted, reason, "product")
        assert same.find(2, uncounted, reason) == "product"
