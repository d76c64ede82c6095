"""How frozen weights are held: every way is one file and satisfies ``FrozenLinear``."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.core.errors import ModelUnusable, NotAvailableYet
from studio.engine.held.layer import Quantise, QuantisedLayer
from studio.engine.lora.registry import get_capability
from studio.engine.quant.none import PlainLinear, TransposedLinear

_PLAIN_DTYPES = {torch.float64, torch.float32, torch.bfloat16, torch.float16}


class FrozenLinear(Protocol):
    """A linear map ``W x + b`` that is never trained, however its numbers are stored."""

    @property
    def in_features(self) -> int:
        """Width of the input."""
        ...

    @property
    def out_features(self) -> int:
        """Width of the output."""
        ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """The format in which products are computed where autocast does not choose another."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns ``W x + b`` as a new tensor ``(rows, out)`` in the dtype of ``inputs``.

        ``inputs`` are ``(rows, in)`` in any floating dtype.
        """
        ...

    def project_back(self, gradients: torch.Tensor) -> torch.Tensor:
        """Returns ``g W`` as a new tensor ``(rows, in)``, for ``gradients`` of ``(rows, out)``."""
        ...

    def get_weight(self) -> torch.Tensor:
        """Returns W as ``(out, in)`` in fp32 (a view where the weights are held so)."""
        ...


def get_quantise(kind: str) -> Quantise:
    """Returns the function that puts a weight ``(out, in)`` into the format ``kind`` (nf4, int8).

    Raises:
        NotAvailableYet: There is no such format.
    """
    return cast(Quantise, get_capability(__name__, __path__, kind, "quantisation").quantise)


def hold(module: nn.Module) -> FrozenLinear:
    """Returns the frozen linear map that ``module`` computes.

    Raises:
        NotAvailableYet: The weights are stored in a way that this version cannot use.
        ModelUnusable: The layer computes something else than ``W x + b``.
    """
    if isinstance(module, QuantisedLayer):
        return module.frozen
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.dtype not in _PLAIN_DTYPES:
        stored = weight.dtype if isinstance(weight, torch.Tensor) else "no weight"
        raise NotAvailableYet(
            f"Layers of type {type(module).__name__} with weights stored as {stored} cannot be "
            "adapted yet.",
            "Choose a base model with weights in float32, bfloat16 or float16.",
        )
    frozen = PlainLinear(module) if isinstance(module, nn.Linear) else TransposedLinear(module)
    if not _computes(module, frozen):
        raise ModelUnusable(
            f"Layers of type {type(module).__name__} compute more than a linear map, so that an "
            "adapter on them would be wrong.",
            "Choose target modules of another type.",
        )
    return frozen


def is_linear_map(module: nn.Module) -> bool:
    """Returns whether ``module`` computes ``W x + b``: routers and grouped layers do more.

    Of weights that this version cannot use that is believed; ``hold`` refuses them by name.
    """
    if isinstance(module, QuantisedLayer) or not isinstance(module, nn.Linear):
        return isinstance(module, QuantisedLayer | Conv1D)
    return module.weight.dtype not in _PLAIN_DTYPES or _computes(module, PlainLinear(module))


@torch.no_grad()
def _computes(module: nn.Module, frozen: FrozenLinear) -> bool:
    """Compare on two rows: a subclass of nn.Linear may scale, normalise or permute."""
    if type(module).forward is nn.Linear.forward or frozen.device.type == "meta":
        return True
    rows = torch.linspace(-1.0, 1.0, 2 * frozen.in_features, device=frozen.device)
    rows = rows.reshape(2, -1).to(frozen.compute_dtype)
    try:
        found = module(rows)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):
        return False  # it asks for something else than rows
    expected = frozen.project(rows)
    is_alike = isinstance(found, torch.Tensor) and found.shape == expected.shape
    return is_alike and torch.allclose(found, expected, rtol=1e-2, atol=1e-3)
