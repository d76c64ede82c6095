"""Keys and values of earlier tokens with room behind them: a new token copies only itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_LEAST_ROOM_TOKENS = 128


def make_room(cache: Any) -> None:
    """Lets the full-attention layers of ``cache`` grow in place instead of being copied.

    Layers that slide, and caches of another make, stay as they are. The layers remain those of
    transformers; only how one appends is replaced.
    """
    if not isinstance(cache, DynamicCache):
        return
    for layer in cache.layers:
        if type(layer) is DynamicLayer and layer.is_initialized:
            _Room(layer)


class _Room:
    """What one layer keeps: ``keys`` and ``values`` of it are views of larger tensors here."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._keys = _Shelf()
        self._values = _Shelf()
        layer.update = self.append

    def append(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Returns all keys and values, ``(rows, heads, tokens, width)``, new ones at the end."""
        layer = self._layer
        layer.keys = self._keys.append(layer.keys, keys)
        layer.values = self._values.append(layer.values, values)
        return layer.keys, layer.values


class _Shelf:
    """A tensor that is longer than what lies in it."""

    def __init__(self) -> None:
        self._store: Tensor | None = None
        self._shown: Tensor | None = None

    def append(self, old: Tensor, new: Tensor) -> Tensor:
        """Returns ``old`` with ``new`` behind it; ``old`` is not copied if it came from here."""
        start, end = old.shape[-2], old.shape[-2] + new.shape[-2]
        store = self._store
        # rows that left, or a cache that was cut, made another tensor of what was shown
        if store is None or old is not self._shown or end > store.shape[-2]:
            room = end + max(_LEAST_ROOM_TOKENS, end // 2)
            store = torch.empty(
                *old.shape[:-2], room, old.shape[-1], dtype=old.dtype, device=old.device
            )
            store[..., :start, :] = old
            self._store = store
        store[..., start:end, :] = new
        self._shown = store[..., :end, :]
        return self._shown
