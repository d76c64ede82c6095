"""Frozen weights as they are in the file: float32, bfloat16 or float16."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional


class PlainLinear:
    """The map of an ``nn.Linear``; its weights ``(out, in)`` stay in the module."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self._weight.shape[1]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self._weight.shape[0]

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of the stored weights."""
        return self._weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._weight.device

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns ``W x + b``, ``(rows, out)``, in the dtype of ``inputs``."""
        bias = self._bias
        return functional.linear(
            inputs, self._weight.to(inputs.dtype), None if bias is None else bias.to(inputs.dtype)
        )

    def project_into(self, inputs: torch.Tensor, output: torch.Tensor) -> None:
        """Writes ``W x + b`` into ``output``, ``(rows, out)``, of the same dtype."""
        _multiply_into(inputs, self._weight.to(inputs.dtype).t(), self._bias, output)

    def project_back(self, gradients: torch.Tensor) -> torch.Tensor:
        """Returns ``g W``, ``(rows, in)``, in the dtype of ``gradients``."""
        return gradients @ self._weight.to(gradients.dtype)

    def get_weight(self) -> torch.Tensor:
        """Returns W as ``(out, in)`` in fp32."""
        return self._weight.detach().float()

    def find_zeros(self) -> torch.Tensor:
        """Returns which weights are zero, as booleans ``(out, in)``."""
        return self._weight.detach() == 0

    @property
    def _weight(self) -> torch.Tensor:
        return cast(torch.Tensor, self._module.weight)

    @property
    def _bias(self) -> torch.Tensor | None:
        return cast("torch.Tensor | None", self._module.bias)


class TransposedLinear(PlainLinear):
    """The map of GPT-2's ``Conv1D``: a linear layer with its weights stored ``(in, out)``."""

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self._weight.shape[0]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self._weight.shape[1]

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns ``W x + b``, ``(rows, out)``, in the dtype of ``inputs``."""
        bias, weight = self._bias, self._weight.to(inputs.dtype)
        return (
            inputs @ weight if bias is None else torch.addmm(bias.to(inputs.dtype), inputs, weight)
        )

    def project_into(self, inputs: torch.Tensor, output: torch.Tensor) -> None:
        """Writes ``W x + b`` into ``output``, ``(rows, out)``, of the same dtype."""
        _multiply_into(inputs, self._weight.to(inputs.dtype), self._bias, output)

    def project_back(self, gradients: torch.Tensor) -> torch.Tensor:
        """Returns ``g W``, ``(rows, in)``, in the dtype of ``gradients``."""
        return gradients @ self._weight.to(gradients.dtype).t()

    def get_weight(self) -> torch.Tensor:
        """Returns W as ``(out, in)`` in fp32."""
        return self._weight.detach().t().float()

    def find_zeros(self) -> torch.Tensor:
        """Returns which weights are zero, as booleans ``(out, in)``."""
        return self._weight.detach().t() == 0


def _multiply_into(
    inputs: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, output: torch.Tensor
) -> None:
    if bias is None:
        torch.mm(inputs, matrix, out=output)
    else:
        torch.addmm(bias.to(inputs.dtype), inputs, matrix, out=output)
