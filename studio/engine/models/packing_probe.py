"""Proves on the loaded model that packed documents give what separate documents give."""

from __future__ import annotations

import torch
from torch import Tensor
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

_LENGTHS = (7, 12, 5)
_WIDEST_WINDOW = 48


def is_packing_exact(model: PreTrainedModel) -> bool:
    """Returns whether ``model``, on packed random tokens, gives the logits of separate documents.

    The last document is made longer than a small sliding window, so that windows are proven too.
    The model's attention function and mode are as before afterwards.
    """
    lengths = (*_LENGTHS, _get_long_document(model))
    was_training = model.training
    model.eval()
    try:
        return _compare(model, lengths)
    except torch.OutOfMemoryError:
        raise
    except (PackingUnsupported, TypeError, ValueError, RuntimeError, AttributeError, KeyError):
        # Whatever a foreign attention layer stumbles over, the answer is the same: do not pack.
        return False
    finally:
        model.train(was_training)


def _get_long_document(model: PreTrainedModel) -> int:
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    if isinstance(window, int) and 0 < window <= _WIDEST_WINDOW:
        return window + 3
    return 9


@torch.no_grad()
def _compare(model: PreTrainedModel, lengths: tuple[int, ...]) -> bool:
    documents = [make_probe_ids(model, count, seed) for seed, count in enumerate(lengths)]
    expected = torch.cat([_get_logits(model, ids, None) for ids in documents])
    positions = torch.cat([torch.arange(count) for count in lengths])[None].to(model.device)
    with quiet_transformers(), attention_of(model, PACKED):
        if get_attention(model) != PACKED:
            return False
        with packed_documents(model, lengths):
            found = _get_logits(model, torch.cat(documents, dim=1), positions)
    size = float(expected.abs().max()) + 1e-6
    tolerance = 2e-4 if model.dtype == torch.float32 else 4e-2
    return float((found - expected).abs().max()) <= tolerance * size


def _get_logits(model: PreTrainedModel, ids: Tensor, positions: Tensor | None) -> Tensor:
    inputs = (
        {"input_ids": ids} if positions is None else {"input_ids": ids, "position_ids": positions}
    )
    logits: Tensor = model(**inputs, use_cache=False).logits[0].float()
    return logits
