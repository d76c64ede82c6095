"""Linear layers of a model whose weights are held in few bits from the moment they arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from studio.engine.held.few import can_multiply_few, multiply_few
from studio.engine.held.product import frozen_product

if TYPE_CHECKING:
    from typing_extensions import Self


class HeldWeights(Protocol):
    """A matrix ``(out, in)`` in few bits; its largest part are the ``codes``."""

    @property
    def codes(self) -> Tensor:
        """The weights themselves, without their scales."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """The widths of output and input."""
        ...

    @property
    def byte_count(self) -> int:
        """The memory that all of it takes."""
        ...

    def to(self, device: torch.device) -> HeldWeights:
        """Returns the same weights on ``device``."""
        ...

    def borrow(self, dtype: torch.dtype) -> Tensor:
        """Returns the weights in ``dtype`` in shared memory: to be used before the next call."""
        ...

    def unfold(self) -> Tensor:
        """Returns the weights as a new fp32 tensor."""
        ...


@dataclass(frozen=True)
class AwayWeights:
    """Stands in the place of weights that are somewhere else at the moment; cannot be used.

    ``codes`` take the place of the codes, at the device where these will be used.
    """

    KIND: str
    shape: tuple[int, int]
    codes: Tensor
    byte_count: int = 0

    def to(self, device: torch.device) -> AwayWeights:
        """Returns the same absence on ``device``."""
        return replace(self, codes=self.codes.to(device))

    def borrow(self, dtype: torch.dtype) -> Tensor:
        """Returns nothing.

        Raises:
            LookupError: Always.
        """
        raise LookupError(f"weights were wanted in {dtype} while they were away")

    def unfold(self) -> Tensor:
        """Returns nothing.

        Raises:
            LookupError: Always.
        """
        raise LookupError("weights were wanted while they were away")


IS_FILLED = "_is_hf_initialized"
"""What keeps the loader of transformers from filling a layer with random numbers."""
Quantise = Callable[[Tensor], HeldWeights]
Note = Callable[[Tensor, HeldWeights], None]


class QuantisedLayer(nn.Module):
    """What a linear layer in few bits has beside its type: it quantises whatever it is given.

    ``weight`` is a placeholder of the full shape on the meta device until a weight is set, as
    loaders do; from then on it holds the codes. ``note`` sees each weight once before it goes.
    Without ``quantise`` what is set are codes already, and ``set_held`` is to follow. Weights are
    quantised on ``target`` and then kept at ``home``.
    """

    quantise: Quantise | None
    compute_dtype: torch.dtype
    target: torch.device
    home: torch.device
    held: HeldWeights | None
    note: Note | None

    @property
    def frozen(self) -> QuantisedMap:
        """The map that the layer computes."""
        return QuantisedMap(self)

    def set_held(self, held: HeldWeights) -> None:
        """Takes ``held`` as the weights."""
        codes = nn.Parameter(held.codes, requires_grad=False)
        setattr(codes, IS_FILLED, True)
        self.held = held
        nn.Module.__setattr__(self, "weight", codes)

    def get_held(self) -> HeldWeights:
        """Returns the weights.

        Raises:
            LookupError: None have been set yet.
        """
        if self.held is None:
            raise LookupError("the layer has no weights yet")
        return self.held

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns ``(…, out)`` for ``inputs`` of ``(…, in)``."""
        return frozen_product(inputs, self.frozen)

    def __setattr__(self, name: str, value: Any) -> None:
        is_weight = name == "weight" and isinstance(value, Tensor) and value.is_floating_point()
        if not is_weight or value.device.type == "meta" or self.quantise is None:
            super().__setattr__(name, value)
            return
        matrix = self._to_matrix(value.detach()).to(self.target)
        held = self.quantise(matrix)
        if self.note is not None:
            self.note(matrix, held)
        self.set_held(held if self.home == held.codes.device else held.to(self.home))

    def build_dense(self) -> nn.Module:
        """Returns the same layer with its weights unfolded, fp32, as parameters."""
        raise NotImplementedError

    def _to_matrix(self, weight: Tensor) -> Tensor:
        """Returns a weight as it is in files as ``(out, in)``."""
        return weight

    def _take_over(
        self, module: nn.Module, quantise: Quantise | None, dtype: torch.dtype, target: torch.device
    ) -> None:
        self.quantise, self.compute_dtype = quantise, dtype
        self.target = self.home = target
        self.held = self.note = None
        # fp32, so that no loader rounds the weights to another format before they are quantised
        empty = torch.empty_like(cast(Tensor, module.weight), device="meta", dtype=torch.float32)
        self.weight = nn.Parameter(empty, requires_grad=False)
        self.bias = module.bias
        setattr(self, IS_FILLED, True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        if self.held is not None:
            # scales stay in fp32, whatever format the other numbers of the model are put into
            codes = self.weight.data
            if not isinstance(self.held, AwayWeights):
                self.held = replace(cast(Any, self.held), codes=codes).to(codes.device)
        return self


class QuantisedLinear(QuantisedLayer, nn.Linear):  # type: ignore[misc]  # bias may be None
    """``W x + b`` with W in few bits."""

    def __init__(
        self, module: nn.Linear, quantise: Quantise | None, dtype: torch.dtype, target: torch.device
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = module.in_features, module.out_features
        self._take_over(module, quantise, dtype, target)

    def build_dense(self) -> nn.Module:
        """Returns the same layer with its weights unfolded, fp32, as parameters."""
        with torch.device("meta"):
            dense = nn.Linear(self.in_features, self.out_features, bias=False)
        dense.weight = nn.Parameter(self.get_held().unfold())
        dense.register_parameter("bias", cast("nn.Parameter | None", self.bias))
        return dense


class QuantisedConv1D(QuantisedLayer, Conv1D):  # type: ignore[misc]  # transformers is untyped
    """GPT-2's ``Conv1D`` in few bits: stored ``(in, out)`` in files, held ``(out, in)``."""

    def __init__(
        self, module: Conv1D, quantise: Quantise | None, dtype: torch.dtype, target: torch.device
    ) -> None:
        nn.Module.__init__(self)
        self.nf, self.nx = module.nf, module.nx
        self._take_over(module, quantise, dtype, target)

    def build_dense(self) -> nn.Module:
        """Returns the same layer with its weights unfolded, fp32, as parameters."""
        with torch.device("meta"):
            dense = Conv1D(self.nf, self.nx)
        dense.weight = nn.Parameter(self.get_held().unfold().t().contiguous())
        dense.bias = self.bias
        layer: nn.Module = dense
        return layer

    def _to_matrix(self, weight: Tensor) -> Tensor:
        return weight.t().contiguous()


class QuantisedMap:
    """The map of a quantised layer, with its own bias or another; satisfies ``FrozenLinear``."""

    def __init__(self, layer: QuantisedLayer, bias: Tensor | None = None) -> None:
        self._layer = layer
        self._bias = cast("Tensor | None", layer.bias) if bias is None else bias

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self._layer.get_held().shape[1]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self._layer.get_held().shape[0]

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype that the other weights of the model are in."""
        return self._layer.compute_dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._layer.get_held().codes.device

    def project(self, inputs: Tensor) -> Tensor:
        """Returns ``W x + b``, ``(rows, out)``, in the dtype of ``inputs``."""
        held = self._layer.get_held()
        bias = None if self._bias is None else self._bias.to(inputs.dtype)
        if can_multiply_few(held, inputs, self.out_features):
            output = multiply_few(held, inputs, self.out_features)
            return output if bias is None else output.add_(bias)
        return functional.linear(inputs, held.borrow(inputs.dtype), bias)

    def project_back(self, gradients: Tensor) -> Tensor:
        """Returns ``g W``, ``(rows, in)``, in the dtype of ``gradients``."""
        return gradients @ self._layer.get_held().borrow(gradients.dtype)

    def get_weight(self) -> Tensor:
        """Returns W as ``(out, in)`` in fp32."""
        return self._layer.get_held().unfold()


def unfold_layers(module: nn.Module) -> nn.Module:
    """Returns ``module`` with all quantised layers in it, or itself, in full size."""
    if isinstance(module, QuantisedLayer):
        return module.build_dense()
    for name, child in module.named_children():
        setattr(module, name, unfold_layers(child))
    return module


def find_quantisation(model: nn.Module) -> str:
    """Returns the format that layers of ``model`` are held in, ``none`` where all are plain."""
    for module in model.modules():
        if isinstance(module, QuantisedLayer):
            return str(getattr(module.get_held(), "KIND", "none"))
    return "none"
