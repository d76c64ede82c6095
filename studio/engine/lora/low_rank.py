"""The products of one adapted linear layer on a block of rows, there and back."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.engine.lora.row_blocks import is_divisible
from studio.engine.quant import FrozenLinear
from studio.engine.quant.none import PlainLinear


class LowRankProduct:
    """``W x + b + factor B A x`` with the factors in the dtype of the products.

    ``lora_a`` is ``(rank, in)``, ``lora_b`` ``(out, rank)``; both None where the layer has no
    update. The gradients of both add up over the blocks in ``grad_a`` and ``grad_b``, in the
    dtype of the parameters.
    """

    def __init__(
        self,
        frozen: FrozenLinear,
        lora_a: Tensor | None,
        lora_b: Tensor | None,
        factor: float,
        dtype: torch.dtype,
    ) -> None:
        self.frozen = frozen
        self.factor = factor
        self.grad_a: Tensor | None = None
        self.grad_b: Tensor | None = None
        self._like = lora_a
        self._a = None if lora_a is None else lora_a.to(dtype)
        self._b = None if lora_b is None else lora_b.to(dtype)
        self._writes = is_divisible(frozen, dtype)

    @property
    def rank(self) -> int:
        """The width of ``A x``, 0 without an update."""
        return 0 if self._a is None else len(self._a)

    def forward(self, x: Tensor, output: Tensor) -> Tensor | None:
        """Writes the result for ``x`` into ``output``, ``(rows, out)``; returns ``A x``, if any."""
        if self._writes and isinstance(self.frozen, PlainLinear):
            self.frozen.project_into(x, output)
        else:
            output.copy_(self.frozen.project(x))
        hidden = self.narrow(x)
        if hidden is None or self._b is None:
            return None
        # out= instead of addmm_, which torch's FLOP counter does not see
        torch.addmm(output, hidden, self._b.t(), alpha=self.factor, out=output)
        return hidden

    def narrow(self, x: Tensor) -> Tensor | None:
        """Returns ``A x``, ``(rows, rank)``, None without an update."""
        return None if self._a is None else x @ self._a.t()

    def backward(
        self, g: Tensor, x: Tensor | None, hidden: Tensor | None, *, needs_x: bool = True
    ) -> Tensor | None:
        """Returns the gradient of ``x``, ``(rows, in)``, if needed; adds those of A and B.

        ``x`` may be missing where there is no update; ``hidden`` is ``A x`` where it was kept.
        """
        grad_x = self.frozen.project_back(g) if needs_x else None
        if self._a is None or self._b is None or self._like is None or x is None:
            return grad_x
        small = x @ self._a.t() if hidden is None else hidden
        back = g @ self._b
        kind = self._like.dtype
        self.grad_b = _add(self.grad_b, (g.t() @ small).to(kind))
        self.grad_a = _add(self.grad_a, (back.t() @ x).to(kind))
        if grad_x is not None:
            torch.addmm(grad_x, back, self._a, alpha=self.factor, out=grad_x)
        return grad_x

    def take_gradients(self) -> tuple[Tensor | None, Tensor | None]:
        """Returns the gradients of A and B, with the factor."""
        for gradient in (self.grad_a, self.grad_b):
            if gradient is not None:
                gradient.mul_(self.factor)
        return self.grad_a, self.grad_b


def _add(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total.add_(more)
