"""The end of an optimizer step: gradient norm, clipping, the refusal of broken numbers, update."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from studio.core.errors import StudioError
from studio.engine.train.guard.diagnose import Diagnosis, find_broken
from studio.engine.train.optimizers import set_learning_rate


@dataclass(frozen=True)
class StepResult:
    """``loss`` is the mean over the step's supervised tokens; the norm is before clipping.

    ``others`` are numbers that were read along with them.
    """

    loss: float
    gradient_norm: float
    others: tuple[float, ...] = ()


def measure_step(
    parameters: list[nn.Parameter],
    loss_sum: Tensor,
    supervised_tokens: int,
    others: Tensor | None = None,
) -> tuple[StepResult, Tensor]:
    """Returns the numbers of a step whose gradients are there, and the norm as a tensor ``()``.

    The one point of a step where the processor waits for the device; ``others`` ``(numbers,)``
    come with the same look.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    numbers = torch.stack([loss_sum.double() / supervised_tokens, norm.double()])
    if others is not None:
        numbers = torch.cat([numbers, others.double()])
    loss, norm_value, *rest = numbers.tolist()
    return StepResult(loss, norm_value, tuple(rest)), norm


def update_parameters(
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    norm: Tensor,
    learning_rate: float,
    max_gradient_norm: float,
) -> None:
    """Updates the parameters from their gradients, shortened to the limit, and clears these.

    ``norm`` is their length ``()``; a limit of 0 means none.
    """
    if max_gradient_norm > 0:
        nn.utils.clip_grads_with_norm_(parameters, max_gradient_norm, norm)
    set_learning_rate(optimizer, learning_rate)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


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

    Raises:
        StudioError: Loss or gradient is not finite (``loss_not_finite``); nothing was changed.
    """
    result, norm = measure_step(parameters, loss_sum, supervised_tokens)
    if not (math.isfinite(result.loss) and math.isfinite(result.gradient_norm)):
        broken = find_broken((str(index), one) for index, one in enumerate(parameters))
        raise explain_refusal(
            result, Diagnosis(has_broken_weights=bool(broken)), learning_rate, step
        )
    update_parameters(parameters, optimizer, norm, learning_rate, max_gradient_norm)
    return result


def explain_refusal(
    result: StepResult, found: Diagnosis, learning_rate: float, step: int
) -> StudioError:
    """Returns the error of a run whose step ``step`` cannot be done, with what to try."""
    loss, norm, joint = result.loss, result.gradient_norm, "because"
    tenth = f"Lower the learning rate (a tenth is a good try: {learning_rate / 10:.0e})"
    if found.has_broken_weights:
        reason = f"weights of the adapter hold broken numbers ({_list(found.layers)})"
        remedy = f"{tenth}; Resume goes on from the last good step."
    elif found.rows:
        reason = f"it goes wrong in {_list(found.rows)}"
        remedy = "Look at these rows in the preview, mend or remove them, then start again."
    elif math.isfinite(loss) and not math.isfinite(norm):
        where = f" in {_list(found.layers)}" if found.layers else ""
        reason, joint = f"its gradient grows beyond all limits{where}", "but"
        remedy = f"{tenth}, or set the number format to float32."
    elif math.isfinite(loss):
        reason = f"with a learning rate of {learning_rate:.2g} it rises instead of falling"
        remedy = f"{tenth}, or use a longer warm-up."
    elif step == 1:
        reason = "the base model itself gives no finite loss on the first examples"
        remedy = "Set the number format to float32, or check the weights of the base model."
    else:
        where = f"; it begins in {_list(found.layers)}" if found.layers else ""
        reason = f"the learning rate was {learning_rate:.2g}{where}"
        remedy = f"{tenth}, or use a longer warm-up."
    code = "loss_exploded" if math.isfinite(loss) and math.isfinite(norm) else "loss_not_finite"
    return StudioError(
        f"Training broke off at step {step}: the loss is {loss:.4g}, {joint} {reason}.",
        remedy,
        code=code,
    )


def _list(places: tuple[str, ...]) -> str:
    return ", ".join(places[:3]) or "none found"
