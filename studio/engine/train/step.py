"""The end of an optimizer step: gradient norm, clipping, the refusal of broken numbers, update."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from studio.core.errors import StudioError
from studio.engine.train.optimizers import set_learning_rate


@dataclass(frozen=True)
class StepResult:
    """``loss`` is the mean over the step's supervised tokens; the norm is before clipping."""

    loss: float
    gradient_norm: float


def finish_step(
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    loss_sum: Tensor,
    supervised_tokens: int,
    learning_rate: float,
    max_gradient_norm: float,
    step: int,
) -> StepResult:
    """Updates the parameters from their gradients, which are cleared; ``step`` is for messages.

    The one point of a step where the processor waits for the device.

    Raises:
        StudioError: Loss or gradient is not finite (``loss_not_finite``); nothing was changed.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    loss, norm_value = torch.stack([loss_sum.double() / supervised_tokens, norm.double()]).tolist()
    if not (math.isfinite(loss) and math.isfinite(norm_value)):
        raise _diagnose(parameters, loss, norm_value, learning_rate, step)
    if max_gradient_norm > 0:
        nn.utils.clip_grads_with_norm_(parameters, max_gradient_norm, norm)
    set_learning_rate(optimizer, learning_rate)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(loss, norm_value)


def _diagnose(
    parameters: list[nn.Parameter], loss: float, norm: float, learning_rate: float, step: int
) -> StudioError:
    broken = sum(1 for parameter in parameters if not torch.isfinite(parameter).all())
    if broken:
        reason = f"{broken} of the adapter's {len(parameters)} matrices hold broken numbers"
        remedy = "Go on from an earlier checkpoint with a lower learning rate."
    elif math.isfinite(loss):
        reason = f"the loss was {loss:.3g}, but its gradient was {norm}"
        remedy = "Lower the learning rate, or set the number format to float32."
    elif step == 1:
        reason = "the base model itself gives no finite loss on the first examples"
        remedy = "Set the number format to float32, or check the weights of the base model."
    else:
        reason = f"the learning rate was {learning_rate:.2g}"
        remedy = "Lower the learning rate (a tenth is a good try), or use a longer warm-up."
    return StudioError(
        f"Training broke off at step {step}: the loss is {loss}, because {reason}."
        if broken or step == 1 or math.isfinite(loss)
        else f"Training broke off at step {step}: the loss is {loss}; {reason}.",
        remedy,
        code="loss_not_finite",
    )
