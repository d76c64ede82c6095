"""AdamW that remembers in 8 bits: both moments in blocks of 256 numbers with one scale each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.core.recipe.schema_train import TrainSettings
from studio.engine.held.blocks import dequantise_blocks, quantise_blocks
from studio.engine.held.levels import get_dynamic_levels
from studio.engine.train.own_optimizer import OwnOptimizer, take_adamw_step

_BLOCK = 256
_LEAST_NUMBERS = 4096
"""Smaller matrices are remembered in full: they take nearly nothing, and steps are exact."""
_MOMENTS = (("first", True), ("second", False))


class AdamW8bit(OwnOptimizer):
    """AdamW whose moments are unfolded for a step and rounded to 8 bits after it."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a saved state; codes are bytes again, which torch turns into floats."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            for name, _ in _MOMENTS:
                if f"{name}_scales" in state:
                    state[name] = state[name].to(torch.uint8)

    def _step_group(
        self, pairs: list[tuple[Tensor, Tensor]], rate: float, weight_decay: float
    ) -> None:
        for parameter, gradient in pairs:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                for name, _ in _MOMENTS:
                    state[name] = torch.zeros_like(parameter, dtype=torch.float32)
            state["step"] += 1
            first, second = (
                self._unfold(state, name, is_signed=is_signed) for name, is_signed in _MOMENTS
            )
            step = int(state["step"])
            take_adamw_step(parameter, gradient, (first, second), step, rate, weight_decay)
            for (name, is_signed), moment in zip(_MOMENTS, (first, second), strict=True):
                self._fold(state, name, moment, is_signed=is_signed)

    def _unfold(self, state: dict[str, Any], name: str, *, is_signed: bool) -> Tensor:
        values: Tensor = state[name]
        if f"{name}_scales" not in state:
            return values
        levels = get_dynamic_levels(values.device, is_signed=is_signed)
        return dequantise_blocks(values, state[f"{name}_scales"], levels, _BLOCK)

    def _fold(self, state: dict[str, Any], name: str, moment: Tensor, *, is_signed: bool) -> None:
        if moment.numel() < _LEAST_NUMBERS:
            state[name] = moment
            return
        levels = get_dynamic_levels(moment.device, is_signed=is_signed)
        codes, state[f"{name}_scales"] = quantise_blocks(moment, levels, _BLOCK)
        state[name] = codes.view(moment.shape)


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns AdamW8bit over ``groups``; the learning rate is set before every step.

    Source: Dettmers et al. 2021 (arXiv 2110.02861), section 2.
    """
    return AdamW8bit(groups, settings.learning_rate, settings.weight_decay)
