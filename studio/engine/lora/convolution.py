"""A low-rank update beside a frozen two-dimensional convolution."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from studio.core.errors import ModelUnusable
from studio.engine.lora.adapted import AdaptedModule


class AdaptedConv2d(AdaptedModule):
    """``conv(W, x) + b + s B conv(A, dropout(x))``.

    A is a convolution of the base's kernel to ``rank`` channels, kept as a matrix
    ``(rank, in * height * width)``; B ``(out, rank)`` mixes these channels at each point.

    Raises:
        ModelUnusable: The channels are in groups, the kernel is spread out (dilation), or the
            edges are filled with something else than zeros.
    """

    def __init__(self, base: nn.Module, **settings: Any) -> None:
        layer = cast(nn.Conv2d, base)
        if layer.groups != 1 or set(layer.dilation) != {1} or layer.padding_mode != "zeros":
            raise ModelUnusable(
                "Convolutions with groups, dilation or padding other than zeros cannot carry an "
                "adapter.",
                "Leave this layer out of the target modules.",
            )
        super().__init__(base, layer.weight[0].numel(), layer.out_channels, **settings)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns ``(batch, out, height, width)`` for ``images`` of ``(batch, in, …, …)``."""
        layer = cast(nn.Conv2d, self.base)
        output: torch.Tensor = layer(images)
        if not self.is_enabled:
            return output
        lora_a, lora_b = (factor.to(output.dtype) for factor in self.get_factors())
        seen = functional.dropout(images, self.dropout, self.training)
        kernel = lora_a.view(-1, *layer.weight.shape[1:])
        hidden = functional.conv2d(seen, kernel, None, layer.stride, layer.padding)
        update = functional.conv2d(hidden, lora_b[:, :, None, None])
        return self._rescale(output + update * self.scaling, layer.bias, (-1, 1, 1))

    def get_file_parts(self) -> dict[str, torch.Tensor]:
        """Returns the matrices as they are saved: as kernels."""
        kernel = cast(nn.Conv2d, self.base).weight.shape[1:]
        parts = super().get_file_parts()
        shaped = {"A": parts["A"].reshape(-1, *kernel), "B": parts["B"][:, :, None, None]}
        if "magnitude" in parts:
            shaped["magnitude"] = parts["magnitude"][None, :, None, None]
        return shaped

    def get_base_matrix(self) -> torch.Tensor:
        """Returns the base's weight in fp32 as ``(out, in * height * width)``."""
        return cast(nn.Conv2d, self.base).weight.detach().float().flatten(1)

    def to_base_layout(self, delta: torch.Tensor) -> torch.Tensor:
        """Returns ``delta`` as ``(out, in, height, width)``."""
        return delta.view(cast(nn.Conv2d, self.base).weight.shape)
