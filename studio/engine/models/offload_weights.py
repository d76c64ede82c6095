"""Frozen layers that lie in the computer's memory and visit the device one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.engine.held.layer import AwayWeights, QuantisedLayer
from studio.engine.models.layers import find_layers
from studio.engine.models.streams import Mark, SideStream, open_side_stream


class _Layer:
    """The frozen weights of one layer: at home in the computer's memory, at times on a device.

    Away from the device a weight is a single number that looks like its whole shape. It is no
    number, so that using it by mistake cannot go unseen.
    """

    def __init__(
        self, layer: nn.Module, device: torch.device, side: SideStream | None = None
    ) -> None:
        self._device, self._side = device, side
        held = [module for module in layer.modules() if isinstance(module, QuantisedLayer)]
        codes = {id(module.weight) for module in held}
        self._weights = [
            p for p in layer.parameters() if not p.requires_grad and id(p) not in codes
        ]
        self._homes = [_settle_home(p.data, device) for p in self._weights]
        self._held = [_HeldHome(module, device) for module in held]
        self._visiting: list[Tensor] = []
        self._arrival: Mark | None = None
        self.size_bytes = sum(home.nbytes for home in (*self._homes, *self._codes))
        self.leave()

    @property
    def is_visiting(self) -> bool:
        """Whether the weights are on the device, or on their way."""
        return bool(self._visiting)

    def visit(self) -> None:
        """Starts to bring the weights to the device."""
        if self._visiting or not (self._homes or self._held):
            return
        homes = (*self._homes, *self._codes)
        if self._side is None:
            self._visiting = [home.clone() for home in homes]
        else:
            self._visiting = [torch.empty_like(home, device=self._device) for home in homes]
            for visitor, home in zip(self._visiting, homes, strict=True):
                self._side.copy(visitor, home)
            self._arrival = self._side.mark()
        visitors = iter(self._visiting)
        for weight in self._weights:
            weight.data = next(visitors)
        for held in self._held:
            held.arrive(next(visitors))

    def await_arrival(self) -> None:
        """Lets the work that follows wait until the weights are there."""
        if self._side is not None and self._arrival is not None:
            self._side.wait(self._arrival)
            self._arrival = None

    def leave(self) -> None:
        """Gives the device's memory back; the work already begun keeps what it needs."""
        self.await_arrival()  # others get this memory now, over which nothing may be written
        self._visiting = []
        for weight, home in zip(self._weights, self._homes, strict=True):
            nothing = torch.full((), float("nan"), dtype=home.dtype, device=self._device)
            weight.data = nothing.expand(home.shape)
        for held in self._held:
            held.leave()

    @property
    def _codes(self) -> list[Tensor]:
        return [held.codes for held in self._held]


class _HeldHome:
    """A layer in few bits: its codes are at home, their scales are small and stay on the device."""

    def __init__(self, layer: QuantisedLayer, device: torch.device) -> None:
        self._layer = layer
        held = layer.get_held()
        self.codes = _settle_home(held.codes, device)
        # without codes, so that nothing of this keeps what visited before
        self._rest: Any = replace(cast(Any, held), codes=held.codes[:0]).to(device)
        kind = str(getattr(held, "KIND", "none"))
        self._away = AwayWeights(kind, held.shape, torch.zeros(1, device=device))

    def arrive(self, codes: Tensor) -> None:
        """Lets the layer compute with ``codes``."""
        self._layer.set_held(replace(self._rest, codes=codes))

    def leave(self) -> None:
        """Takes the codes away."""
        self._layer.set_held(self._away)


class WeightOffload:
    """Brings each layer when it is its turn, and the next one beside the work.

    On the way back the order is the other way round. ``resident_bytes`` is what is on the device
    now, ``most_resident_bytes`` the most there ever was.
    """

    def __init__(self, model: PreTrainedModel, layers: list[nn.Module], device: torch.device):
        side = open_side_stream(device)
        self._layers = [_Layer(layer, device, side) for layer in layers]
        self._is_way_back = False
        self.most_resident_bytes = 0
        model.register_forward_pre_hook(self._begin)
        for index, layer in enumerate(layers):
            layer.register_forward_pre_hook(self._enter(index))
            layer.register_forward_hook(self._note_output(index))

    @property
    def size_bytes(self) -> int:
        """All frozen weights of the layers together."""
        return sum(layer.size_bytes for layer in self._layers)

    @property
    def largest_layer_bytes(self) -> int:
        """The frozen weights of the largest layer."""
        return max(layer.size_bytes for layer in self._layers)

    @property
    def resident_bytes(self) -> int:
        """What of them is on the device."""
        return sum(layer.size_bytes for layer in self._layers if layer.is_visiting)

    def bring(self, index: int) -> None:
        """Lets layer ``index`` be there, the next one be on its way, and all others leave."""
        following = index - 1 if self._is_way_back else index + 1
        for number, layer in enumerate(self._layers):
            if number not in (index, following) and layer.is_visiting:
                layer.leave()
        self._layers[index].visit()
        self._layers[index].await_arrival()
        if 0 <= following < len(self._layers):
            self._layers[following].visit()
        self.most_resident_bytes = max(self.most_resident_bytes, self.resident_bytes)

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        del module, inputs
        self._is_way_back = False

    def _enter(self, index: int) -> Callable[..., None]:
        def bring(module: nn.Module, inputs: Any) -> None:
            del module, inputs
            self.bring(index)

        return bring

    def _note_output(self, index: int) -> Callable[..., None]:
        def come_back(gradient: Tensor) -> None:
            del gradient
            self._is_way_back = True
            self.bring(index)

        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            hidden = output[0] if isinstance(output, tuple) else output
            if isinstance(hidden, Tensor) and hidden.requires_grad:
                hidden.register_hook(come_back)  # type: ignore[no-untyped-call]  # torch's own

        return note


def offload_weights(model: PreTrainedModel, device: torch.device) -> WeightOffload:
    """Moves ``model`` to ``device``, but for the frozen weights of its layers, which only visit.

    The model must be in the computer's memory, with its adapter in place.

    Raises:
        ModelUnusable: Its layers cannot be found.
    """
    layers = find_layers(model)
    if not layers:
        raise ModelUnusable(
            f"The layers of {type(model).__name__} cannot be found, so its weights cannot stay in "
            "the computer's memory.",
            "Set base.offload to none; base.quantisation saves memory without it.",
            code="offload_unsupported",
        )
    offload = WeightOffload(model.base_model, layers, device)
    # What is left in the layers is trained, or too small to be worth the way.
    model.to(device)
    return offload


def _settle_home(weight: Tensor, device: torch.device) -> Tensor:
    """Returns ``weight`` in memory from which a card can fetch it beside the work."""
    home = weight.detach().to("cpu")
    if device.type != "cuda":
        return home
    try:
        return home.pin_memory()
    except RuntimeError:  # the system grants only so much of it; from other memory it is slower
        return home
