"""Layers that stand beside each other in a model and read the same input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

_NAMES = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("gate_proj", "up_proj"),
    ("w1", "w3"),
)
"""Children of one module that most families feed with the same tensor."""

Value = TypeVar("Value")


def iter_siblings(model: nn.Module) -> Iterator[tuple[nn.Module, ...]]:
    """Yields the layers that by their names read the same input, two or more at a time.

    Names only hint at it: whether the input is the same, ``SameInput`` finds out each time.
    """
    seen: set[int] = set()
    for parent in model.modules():
        for names in _NAMES:
            found = tuple(
                child
                for child in (getattr(parent, name, None) for name in names)
                if isinstance(child, nn.Module) and id(child) not in seen
            )
            if len({id(child) for child in found}) == len(found) > 1:
                seen.update(map(id, found))
                yield found


class SameInput(Generic[Value]):
    """Keeps what the first of several layers computed from an input until all others took it."""

    def __init__(self, layers: int) -> None:
        self._waiting: set[int] = set()
        self._layers = frozenset(range(layers))
        self._inputs: Tensor | None = None
        self._state: tuple[int, Any] | None = None
        self._value: Value | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether some layer has not taken yet what was kept."""
        return bool(self._waiting)

    def keep(self, place: int, inputs: Tensor, reason: Any, value: Value) -> Value:
        """Returns ``value``; layers other than ``place`` find it for ``inputs`` and ``reason``."""
        self._waiting = set(self._layers - {place})
        self._inputs, self._state, self._value = inputs, (_count(inputs), reason), value
        return value

    def find(self, place: int, inputs: Tensor, reason: Any) -> Value | None:
        """Returns, once for each layer, what was kept for the very same objects, else None.

        None too if ``inputs`` was written to since then.
        """
        state = self._state
        if self._inputs is not inputs or state is None or place not in self._waiting:
            return None
        if state[1] is not reason or state[0] != _count(inputs):
            return None
        value = self._value
        self._waiting.remove(place)
        if not self._waiting:
            self._inputs = self._state = self._value = None
        return value


def _count(inputs: Tensor) -> int:
    """Returns how often ``inputs`` was written to, which is not counted in inference mode."""
    return 0 if inputs.is_inference() else inputs._version  # noqa: SLF001 - torch has no public name for it
