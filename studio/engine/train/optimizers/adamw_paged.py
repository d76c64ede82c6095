"""AdamW whose averages lie in the computer's memory and visit the card one by one, in each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.core.recipe.schema_train import TrainSettings
from studio.engine.train.own_optimizer import OwnOptimizer, take_adamw_step

_MOMENTS = ("first", "second")


class PagedAdamW(OwnOptimizer):
    """AdamW that takes no memory of a card beyond the averages of one matrix.

    They lie in pinned memory, so that they travel beside the work. On the processor they are where
    the parameters are, and nothing travels.
    """

    def state_dict(self) -> dict[str, Any]:
        """Returns the state, once what is on its way from a card has arrived."""
        if any(one.is_cuda for group in self.param_groups for one in group["params"]):
            torch.cuda.synchronize()
        found: dict[str, Any] = super().state_dict()
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a saved state; its averages never all lie on the card together."""
        super().load_state_dict({**state_dict, "state": {}})
        parameters = [one for group in self.param_groups for one in group["params"]]
        for index, values in state_dict["state"].items():
            parameter = parameters[index]
            state = {"step": values["step"].clone()}
            for name in _MOMENTS:
                state[name] = self._make_room(parameter).copy_(values[name])
            self.state[parameter] = state

    def visits(self, parameter: Tensor) -> bool:
        """Returns whether the averages of ``parameter`` are elsewhere than it is itself."""
        return parameter.is_cuda

    def _step_group(
        self, pairs: list[tuple[Tensor, Tensor]], rate: float, weight_decay: float
    ) -> None:
        for parameter, gradient in pairs:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                for name in _MOMENTS:
                    state[name] = self._make_room(parameter)
            state["step"] += 1
            first, second = (self._fetch(parameter, state[name]) for name in _MOMENTS)
            step = int(state["step"])
            take_adamw_step(parameter, gradient, (first, second), step, rate, weight_decay)
            if self.visits(parameter):
                for name, moment in zip(_MOMENTS, (first, second), strict=True):
                    state[name].copy_(moment, non_blocking=True)

    def _fetch(self, parameter: Tensor, moment: Tensor) -> Tensor:
        if not self.visits(parameter):
            return moment
        return moment.to(parameter.device, non_blocking=True, copy=True)

    def _make_room(self, parameter: Tensor) -> Tensor:
        """Returns zeros for an average, in the computer's memory."""
        return torch.zeros(parameter.shape, dtype=torch.float32, pin_memory=parameter.is_cuda)


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns PagedAdamW over ``groups``; the learning rate is set before every step.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; paging as in
    Dettmers et al. 2023 (QLoRA), section 3.
    """
    return PagedAdamW(groups, settings.learning_rate, settings.weight_decay)
