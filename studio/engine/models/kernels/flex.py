"""torch's flexible attention: a mask given as a rule, compiled to a kernel of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

if TYPE_CHECKING:
    from studio.engine.models.attention import Documents

LABEL = "torch's flexible attention"


def find_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns why it cannot be used there, None if it can be tried."""
    del dtype
    if device.type == "cuda":
        # Without the compiler it would hold the scores of all pairs of tokens.
        return None if find_spec("triton") else "the compiler it needs (triton) is not installed"
    return "it cannot be trained on the processor"


def attend(
    documents: Documents,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float,
    window: int | None,
) -> Tensor:
    """Returns attention within each document, causal, ``(1, tokens, heads, width)``."""
    tokens = query.shape[2]
    mask = documents.keep(
        ("flex", tokens, window), lambda: _build_mask(documents, tokens, window, query.device)
    )
    run = _compile() if query.is_cuda else cast("Callable[..., Any]", flex_attention)
    joined: Any = run(
        query,
        key,
        value,
        block_mask=mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    result: Tensor = joined.transpose(1, 2)
    return result


def _build_mask(documents: Documents, tokens: int, window: int | None, device: torch.device) -> Any:
    ends = documents.get_bounds(device)
    at = torch.arange(tokens, device=device)
    number = torch.searchsorted(ends, at, right=True)  # the same for all tokens of a document

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        is_seen = (query >= key) & (number[query] == number[key])
        return is_seen if window is None else is_seen & (query - key < window)

    return create_block_mask(sees, None, None, tokens, tokens, device=str(device))


@cache
def _compile() -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=True)
    return compiled
