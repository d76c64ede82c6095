"""Rows of different lengths as one batch of a model: filler on the left, one cache for all."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.engine.infer.roomy_cache import make_room
from studio.engine.models.body import make_probe_ids

_PROBE_TOKENS = 9
_PROBE_FILLER = 4


class RowBatch:
    """Rows that a model reads together, each growing by the last token of its list.

    ``written`` maps the number of a row to its ids, which the caller extends after each step.
    Rows of equal length need no filler and get no mask.
    """

    def __init__(self, model: PreTrainedModel, written: Mapping[int, list[int]]) -> None:
        self.rows = list(written)
        self._model = model
        self._written = dict(written)
        lengths = {len(ids) for ids in written.values()}
        self._is_padded = len(lengths) > 1
        self._mask: Tensor | None = None
        self._cache: Any = None
        self._accepts = set(inspect.signature(model.forward).parameters)

    def keep(self, wanted: Collection[int]) -> None:
        """Drops the rows that are not wanted, where the cache allows it, so that they cost nothing.

        Where it does not, they stay as long as any other row does.
        """
        places = [place for place, row in enumerate(self.rows) if row in wanted]
        if len(places) == len(self.rows):
            return
        if places and self._cache is not None:
            layers = getattr(self._cache, "layers", None)
            if not layers or not all(hasattr(layer, "batch_select_indices") for layer in layers):
                return
            self._cache.batch_select_indices(torch.tensor(places, device=self._model.device))
        if self._mask is not None:
            self._mask = self._mask[places]
        self.rows = [self.rows[place] for place in places]

    @torch.no_grad()
    def compute_logits(self) -> Tensor:
        """Returns the logits of the next token of each row, ``(rows, vocabulary)``."""
        # Models without a key-value cache read everything again.
        inputs = self._read_all() if self._cache is None else self._read_last()
        if "logits_to_keep" in self._accepts:
            inputs["logits_to_keep"] = 1
        output = self._model(use_cache=True, return_dict=True, **inputs)
        if self._cache is None:
            self._cache = getattr(output, "past_key_values", None)
            make_room(self._cache)
        logits: Tensor = output.logits[:, -1]
        return logits

    def _read_all(self) -> dict[str, Any]:
        rows = [self._written[row] for row in self.rows]
        longest = max(map(len, rows))
        filled = [[0] * (longest - len(ids)) + ids for ids in rows]
        inputs: dict[str, Any] = {"input_ids": self._to_tensor(filled)}
        if self._is_padded:
            self._mask = self._to_tensor(
                [[0] * (longest - len(ids)) + [1] * len(ids) for ids in rows]
            )
            positions = self._mask.cumsum(dim=1) - 1
            inputs |= self._describe(positions.clamp_min(0))
        return inputs

    def _read_last(self) -> dict[str, Any]:
        rows = [self._written[row] for row in self.rows]
        inputs: dict[str, Any] = {
            "input_ids": self._to_tensor([[ids[-1]] for ids in rows]),
            "past_key_values": self._cache,
        }
        if self._mask is not None:
            self._mask = torch.cat((self._mask, self._mask.new_ones(len(rows), 1)), dim=1)
            inputs |= self._describe(self._mask.sum(dim=1, keepdim=True) - 1)
        return inputs

    def _describe(self, positions: Tensor) -> dict[str, Tensor]:
        """Returns what tells the model about the filler."""
        names = {"attention_mask": self._mask, "position_ids": positions}
        return {
            name: value
            for name, value in names.items()
            if value is not None and name in self._accepts
        }

    def _to_tensor(self, rows: list[list[int]]) -> Tensor:
        return torch.tensor(rows, device=self._model.device)


def can_pad(model: PreTrainedModel) -> bool:
    """Returns whether rows of different lengths get the same logits together as each alone.

    Found by comparing two short rows over two steps; some models (state-space models, some
    positions) do not understand filler on the left.
    """
    long = make_probe_ids(model, _PROBE_TOKENS)[0].tolist()
    rows = {0: long[:-1], 1: long[_PROBE_FILLER:-1]}
    together = _answer_twice(model, rows, long[-1])
    for row, ids in rows.items():
        alone = _answer_twice(model, {row: ids}, long[-1])[:, 0]
        difference = float((together[:, row] - alone).abs().max())
        tolerance = 1e-4 if model.dtype == torch.float32 else 5e-2
        if not difference <= tolerance * max(1.0, float(alone.abs().max())):
            return False
    return True


def _answer_twice(model: PreTrainedModel, rows: dict[int, list[int]], token: int) -> Tensor:
    written = {row: list(ids) for row, ids in rows.items()}
    batch = RowBatch(model, written)
    first = batch.compute_logits()
    for ids in written.values():
        ids.append(token)
    return torch.stack((first, batch.compute_logits())).float()
