"""Proves on the loaded model that documents computed together give what they give alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from studio.engine.models.attention import (
    PACKED,
    PackingUnsupported,
    attention_of,
    get_attention,
    packed_documents,
)
from studio.engine.models.body import make_probe_ids
from studio.engine.models.quiet import quiet_transformers

_LENGTHS = (7, 12, 5, 19)
_SMALL_WINDOW = 8
_WINDOWS = ("sliding_window", "attention_chunk_size")


def is_packing_exact(model: PreTrainedModel) -> bool:
    """Returns whether ``model``, on packed random tokens, gives the logits of separate documents.

    Sliding windows and chunks of attention are made small for the moment and the last document
    longer, so that they are proven too: families that tell them by the mask alone cannot be
    packed. The model's attention function, windows and mode are as before afterwards.
    """
    with _small_windows(model):
        return _is_exact(model, _compute_packed)


def is_padding_exact(model: PreTrainedModel) -> bool:
    """Returns whether ``model``, on padded random tokens, gives the logits of separate documents.

    The filler stands on the right, as in training; the model's mode is as before afterwards.
    """
    return _is_exact(model, _compute_padded)


def _is_exact(
    model: PreTrainedModel, compute: Callable[[PreTrainedModel, list[Tensor]], Tensor]
) -> bool:
    was_training = model.training
    model.eval()
    try:
        return _compare(model, compute)
    except torch.OutOfMemoryError:
        raise
    except (
        PackingUnsupported, TypeError, ValueError, RuntimeError, AttributeError, KeyError,
        IndexError,
    ):  # fmt: skip
        # Whatever a foreign model stumbles over, the answer is the same: not in this way.
        return False
    finally:
        model.train(was_training)


@contextmanager
def _small_windows(model: PreTrainedModel) -> Iterator[None]:
    """Makes every wide window of ``model`` small, where layers and their settings keep it."""
    places: dict[int, Any] = {id(module): module for module in model.modules()}
    places |= {id(one.config): one.config for one in model.modules() if hasattr(one, "config")}
    before = [
        (place, name, value)
        for place in places.values()
        for name in _WINDOWS
        if isinstance(value := vars(place).get(name), int) and value > _SMALL_WINDOW
    ]
    try:
        for place, name, _ in before:
            setattr(place, name, _SMALL_WINDOW)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


@torch.no_grad()
def _compare(
    model: PreTrainedModel, compute: Callable[[PreTrainedModel, list[Tensor]], Tensor]
) -> bool:
    documents = [make_probe_ids(model, count, seed) for seed, count in enumerate(_LENGTHS)]
    expected = torch.cat([_get_logits(model, input_ids=ids)[0] for ids in documents])
    found = compute(model, documents)
    size = float(expected.abs().max()) + 1e-6
    tolerance = 2e-4 if model.dtype == torch.float32 else 4e-2
    return float((found - expected).abs().max()) <= tolerance * size


def _compute_packed(model: PreTrainedModel, documents: list[Tensor]) -> Tensor:
    lengths = [ids.shape[1] for ids in documents]
    positions = torch.cat([torch.arange(count) for count in lengths])[None].to(model.device)
    with quiet_transformers(), attention_of(model, PACKED):
        if get_attention(model) != PACKED:
            raise PackingUnsupported("the attention function cannot be exchanged")
        with packed_documents(model, lengths):
            row = torch.cat(documents, dim=1)
            return _get_logits(model, input_ids=row, position_ids=positions)[0]


def _compute_padded(model: PreTrainedModel, documents: list[Tensor]) -> Tensor:
    rows = [ids[0] for ids in documents]
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    ids = pad_sequence(rows, batch_first=True)  # the filler of training is token 0 as well
    return _get_logits(model, input_ids=ids, attention_mask=mask)[mask.bool()]


def _get_logits(model: PreTrainedModel, **inputs: Tensor) -> Tensor:
    logits: Tensor = model(**inputs, use_cache=False).logits.float()
    return logits
