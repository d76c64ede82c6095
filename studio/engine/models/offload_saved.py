"""Moves what layers keep for the backward pass to the computer's memory, and back in time."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.engine.models.layers import find_layers
from studio.engine.models.streams import Mark, open_side_stream

_LEAST_BYTES = 1 << 14
"""Smaller tensors stay: moving them costs more than they take."""
_LEAVING_LAYERS = 1
"""Of so many layers the results may still be on their way when the next one begins. The processor
runs ahead of a card: without a limit it would start all layers before the first one has left."""


class _Moved:
    """One tensor that lies in the computer's memory until it is fetched."""

    def __init__(self, tensor: Tensor, way: _Way) -> None:
        self._way = way
        self._kept = way.send(tensor)
        self._arrival: _Arrival | None = None

    def fetch(self) -> _Arrival:
        """Returns the tensor on its way back, which begins now if it did not before."""
        if self._arrival is None:
            self._arrival = self._way.bring(self._kept)
        return self._arrival

    def get(self) -> Tensor:
        """Returns the tensor on its device; the work that follows waits until it is there."""
        arrival = self.fetch()
        self._way.wait(arrival)
        return arrival.tensor


@dataclass
class _Arrival:
    """A tensor on its way to the device; ``mark`` is when it is there, None means now."""

    tensor: Tensor
    mark: Mark | None


class _Way:
    """The way between a device and the computer's memory; beside the work on a card."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = open_side_stream(device)
        self._leaving: deque[tuple[Mark, list[Tensor]]] = deque()
        self._arriving: list[_Arrival] = []
        self.moved_bytes = 0

    def send(self, tensor: Tensor) -> Tensor:
        """Returns a copy in the computer's memory; ``tensor`` must live until ``release``."""
        self.moved_bytes += tensor.numel() * tensor.element_size()
        if self._side is None:
            return tensor.clone()
        kept = torch.empty_like(tensor, device="cpu", pin_memory=self._device.type == "cuda")
        self._side.copy(kept, tensor)
        return kept

    def hold(self, tensors: list[Tensor]) -> None:
        """Keeps tensors that were sent until their copies are made."""
        if self._side is not None:
            self._leaving.append((self._side.mark(), tensors))

    def release(self, most: int = 0) -> None:
        """Lets the work wait for copies and gives up what was held, but for the last ``most``."""
        while self._side is not None and len(self._leaving) > most:
            mark, tensors = self._leaving.popleft()
            self._side.wait(mark)
            tensors.clear()

    def bring(self, kept: Tensor) -> _Arrival:
        """Returns what will hold ``kept`` on the device soon."""
        if self._side is None:
            return _Arrival(kept, None)
        tensor = torch.empty_like(kept, device=self._device)
        self._side.copy(tensor, kept)
        arrival = _Arrival(tensor, self._side.mark())
        self._arriving.append(arrival)
        return arrival

    def wait(self, arrival: _Arrival) -> None:
        """Lets the work that follows wait for one tensor."""
        if self._side is not None and arrival.mark is not None:
            self._side.wait(arrival.mark)
            arrival.mark = None

    def settle(self) -> None:
        """Lets the work wait for everything on its way back: what nobody uses is given up."""
        for arrival in self._arriving:
            self.wait(arrival)
        self._arriving.clear()


class SavedOffload:
    """Moves what the layers of one model save, but for the last, which the gradients reach first.

    ``moved_bytes`` counts what was moved since the beginning.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._way = _Way(model.device)
        self._model = model
        self._own: set[int] = set()
        self._sets: dict[int, list[weakref.ref[_Moved]]] = {}

    @property
    def moved_bytes(self) -> int:
        """Bytes that were sent to the computer's memory."""
        return self._way.moved_bytes

    @contextmanager
    def around_layer(self, index: int) -> Iterator[None]:
        """Moves what is saved inside; ``index`` numbers the layers from the lowest on."""
        if index == 0:  # what a step left behind that broke off
            self._way.settle()
        self._way.release(0 if index == 0 else _LEAVING_LAYERS)
        if index == 0 or not self._own:
            tensors = (*self._model.parameters(), *self._model.buffers())
            self._own = {one.untyped_storage().data_ptr() for one in tensors}
        found: dict[tuple[Any, ...], _Moved] = {}
        alive: list[Tensor] = []  # as long as they live, no other tensor can have their place
        members: list[weakref.ref[_Moved]] = []
        self._sets[index] = members

        def pack(tensor: Tensor) -> Tensor | _Moved:
            size = tensor.numel() * tensor.element_size()
            if size < _LEAST_BYTES or tensor.untyped_storage().data_ptr() in self._own:
                return tensor
            version = tensor._version  # noqa: SLF001 - torch has no public name for it
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, version)
            if key not in found:
                found[key] = _Moved(tensor.detach(), self._way)
                members.append(weakref.ref(found[key]))
                alive.append(tensor)
            return found[key]

        def unpack(saved: Tensor | _Moved) -> Tensor:
            if isinstance(saved, Tensor):
                return saved
            self._way.release()
            self._fetch(index)  # the highest layer's; those of others were fetched above them
            result = saved.get()
            self._fetch(index - 1)  # while this layer works, the next one's are on their way
            return result

        with saved_tensors_hooks(pack, unpack):
            yield
        self._way.hold(alive)

    def _fetch(self, index: int) -> None:
        references = self._sets.pop(index, [] if index < 0 else None)
        if references is None:
            return
        self._way.settle()
        for reference in references:
            moved = reference()
            if moved is not None:
                moved.fetch()


def offload_saved(model: PreTrainedModel) -> SavedOffload:
    """Lets ``model`` keep its intermediate results in the computer's memory while training.

    Raises:
        ModelUnusable: Its layers cannot be found.
    """
    layers = find_layers(model)
    if not layers:
        raise ModelUnusable(
            f"The layers of {type(model).__name__} cannot be found, so what they keep cannot be "
            "moved to the computer's memory.",
            "Set train.checkpointing to all, or to none.",
            code="checkpointing_unsupported",
        )
    offload = SavedOffload(model)
    for index, layer in enumerate(layers[:-1]):
        layer.forward = _moving(offload, index, layer, layer.forward)
    return offload


def _moving(
    offload: SavedOffload, index: int, layer: nn.Module, forward: Callable[..., Any]
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not (layer.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        with offload.around_layer(index):
            return forward(*args, **kwargs)

    return run
