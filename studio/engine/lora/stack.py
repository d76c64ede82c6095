"""Many adapters on one base at the same time: every row of a batch may use another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from studio.core.errors import StudioError
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.routing import Routing, RowChoice
from studio.engine.lora.stacked import StackedModule
from studio.engine.lora.state import load_adapter


class AdapterStack:
    """Adapters of different ranks, targets and variants over one copy of the base's weights.

    While the stack is in the model and no rows are chosen, the model computes as its base.
    Adapters can be added and removed between any two forward passes, also in the middle of an
    answer of others.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._routing = Routing()
        self._layers: dict[str, StackedModule] = {}
        self._places: list[tuple[nn.Module, str, nn.Module]] = []
        self._names: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters in the order in which they were added."""
        return tuple(self._names)

    def load(self, name: str, folder: Path) -> None:
        """Adds the adapter in ``folder`` under ``name``.

        Raises:
            AdapterUnusable: It does not belong to this base; the message says why.
            FileUnusable: A file is missing or cannot be read.
            StudioError: There is an adapter of that name already.
        """
        self._check_free(name)
        self._take_out()
        try:
            adapter = load_adapter(self._model, folder)
            adapter.detach()
            self._take_over(name, adapter)
        finally:
            self._put_in()

    def add(self, name: str, adapter: Adapter) -> None:
        """Adds a detached ``adapter`` of this model; later changes of it have no effect here.

        Raises:
            StudioError: There is an adapter of that name already.
        """
        self._check_free(name)
        self._take_out()
        try:
            self._take_over(name, adapter)
        finally:
            self._put_in()

    def remove(self, name: str) -> None:
        """Takes an adapter out and gives its memory back.

        Raises:
            LookupError: There is none of that name, or a row is being computed with it.
        """
        if name not in self._names:
            raise LookupError(f"there is no adapter {name!r}")
        if any(choice.adapter == name for choice in self._routing.choices):
            raise LookupError(f"the adapter {name!r} is in use")
        self._take_out()
        self._names.remove(name)
        for layer in self._layers.values():
            layer.remove(name)
        self._layers = {key: one for key, one in self._layers.items() if not one.is_empty}
        self._put_in()

    def close(self) -> None:
        """Leaves the model as it was before the first adapter came."""
        self._take_out()
        self._layers = {}
        self._names = []

    @contextmanager
    def rows(self, choices: Sequence[RowChoice]) -> Iterator[None]:
        """Lets row i of every batch inside the block be computed as ``choices[i]`` says.

        Raises:
            LookupError: There is no adapter of a chosen name.
        """
        unknown = {choice.adapter for choice in choices} - {None, *self._names}
        if unknown:
            raise LookupError(f"there is no adapter {unknown.pop()!r}")
        before = self._routing.choices
        self._routing.set(choices)
        try:
            yield
        finally:
            self._routing.set(before)

    def _check_free(self, name: str) -> None:
        if name in self._names:
            raise StudioError(
                f"There is an adapter {name} already.",
                "Give it another name, or remove the other one first.",
                code="column_taken",
            )

    def _take_over(self, name: str, adapter: Adapter) -> None:
        modules = dict(self._model.named_modules())
        for place, wrapped in adapter.wrapped.items():
            if place not in self._layers:
                self._layers[place] = StackedModule(modules[place], self._routing)
            self._layers[place].add(name, wrapped)
        self._names.append(name)

    def _put_in(self) -> None:
        layers = {id(layer.base): layer for layer in self._layers.values()}
        # All places are found before the first change: layers may lie inside each other, and a
        # shared layer is one object under several names.
        self._places = [
            (parent, name, child)
            for parent in self._model.modules()
            for name, child in parent.named_modules(remove_duplicate=False)
            if name and "." not in name and id(child) in layers
        ]
        for parent, name, child in self._places:
            setattr(parent, name, layers[id(child)])
        for layer in layers.values():
            layer.eval()

    def _take_out(self) -> None:
        for parent, name, child in self._places:
            setattr(parent, name, child)
        self._places = []
