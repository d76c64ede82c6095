"""Attention over packed rows: documents lie end to end in one row and see only themselves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's own documentation uses
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from studio.engine.models.document_groups import DocumentGroups, group_documents
from studio.engine.models.kernels import Kernel
from studio.engine.models.packed_function import attend_documents, can_attend_at_once
from studio.engine.models.rotary import separate_rotary

PACKED = "studio_packed"
_ATTRIBUTE = "studio_documents"


class PackingUnsupported(Exception):
    """A model's attention asks for something that packed rows do not offer."""


class Documents:
    """The lengths of the documents in the row that one model computes at the moment.

    Every attention layer of a model holds the same object, so that nothing is shared between
    models and recomputation in the backward pass (on another thread on CUDA) finds it too.
    ``kernel`` computes the attention where one was found that does so exactly.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.kernel: Kernel | None = None
        self._masks: dict[tuple[int, int, torch.device], Tensor] = {}
        self._groups: dict[torch.device, DocumentGroups] = {}
        self._kept: dict[Hashable, Any] = {}

    def show(self, lengths: Sequence[int]) -> None:
        """Sets the lengths of the next row, in tokens."""
        self.lengths = list(lengths)
        self._masks.clear()
        self._groups.clear()
        self._kept.clear()

    def keep(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Returns what ``build`` makes, made once for all layers of a row."""
        if key not in self._kept:
            self._kept[key] = build()
        return self._kept[key]

    def get_bounds(self, device: torch.device) -> Tensor:
        """Returns where the documents end, beginning with 0: ``(documents + 1,)``, int32."""
        bounds: Tensor = self.keep(
            ("bounds", device),
            lambda: torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32).to(
                device, non_blocking=True
            ),
        )
        return bounds

    def get_groups(self, device: torch.device) -> DocumentGroups:
        """Returns the documents grouped by length, the same for all layers."""
        if device not in self._groups:
            self._groups[device] = group_documents(self.lengths, device)
        return self._groups[device]

    def get_window_mask(self, tokens: int, window: int, device: torch.device) -> Tensor:
        """Returns what a causal window of ``window`` tokens may see: ``(tokens, tokens)``, bool."""
        key = (tokens, window, device)
        if key not in self._masks:
            at = torch.arange(tokens, device=device)
            distance = at[:, None] - at[None, :]
            self._masks[key] = (distance >= 0) & (distance < window)
        return self._masks[key]


def get_documents(model: PreTrainedModel) -> Documents:
    """Returns the object through which the layers of ``model`` learn where documents end."""
    found = getattr(model, _ATTRIBUTE, None)
    if isinstance(found, Documents):
        return found
    documents = Documents()
    for module in model.modules():
        setattr(module, _ATTRIBUTE, documents)
    separate_rotary(model, lambda: documents.lengths)
    return documents


@contextmanager
def packed_documents(model: PreTrainedModel, lengths: Sequence[int]) -> Iterator[None]:
    """Lets ``model`` attend within documents of these lengths; spans forward and backward."""
    documents = get_documents(model)
    documents.show(lengths)
    try:
        yield
    finally:
        documents.show(())


@contextmanager
def attention_of(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Lets ``model`` compute with another attention function and puts the old one back."""
    before = get_attention(model)
    if before == name:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def get_attention(model: PreTrainedModel) -> str:
    """Returns the name of the attention function that ``model`` uses now."""
    return str(model.config._attn_implementation)  # noqa: SLF001 - transformers has no public name


def attend_packed(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **extra: object,
) -> tuple[Tensor, None]:
    """Returns attention within each document of a packed row, ``(1, tokens, heads, width)``.

    ``query`` is ``(1, heads, tokens, width)``; ``key`` and ``value`` may have fewer heads.

    Raises:
        PackingUnsupported: The layer needs a mask, attention sinks or a view of later tokens.
    """
    documents = getattr(module, _ATTRIBUTE, None)
    if not isinstance(documents, Documents) or sum(documents.lengths) != query.shape[2]:
        raise PackingUnsupported("the row is not described by the documents")
    is_causal = extra.get("is_causal")
    if attention_mask is not None or extra.get("s_aux") is not None or is_causal is False:
        raise PackingUnsupported("the attention needs a mask, sinks or later tokens")
    kernel = documents.kernel
    if kernel is not None and softcap is None and not dropout:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        parts = (documents, query, key, value)
        return kernel.attend(*parts, scaling=scale, window=sliding_window).contiguous(), None
    dtype = query.dtype
    is_short = sliding_window is None or max(documents.lengths) <= sliding_window
    is_plain = softcap is None and not dropout and is_short
    if is_plain and can_attend_at_once(query, key, value):
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attend_documents(query, key, value, documents.lengths, scale), None
    if query.device.type == "cpu" and dtype != torch.float32:
        # The CPU kernels for 16-bit attention are several times slower than those for 32 bits.
        query, key, value = query.float(), key.float(), value.float()
    if query.device.type == "cuda" and softcap is None and len(documents.lengths) > 1:
        # On a card many small calls wait for the processor that starts them.
        joined = attend_grouped(documents, query, key, value, dropout, scaling, sliding_window)
        return joined.transpose(1, 2).contiguous(), None
    lengths = documents.lengths
    outputs = []
    # split, not slices: the backward of a slice writes a whole row of zeros per document
    for q, k, v in zip(*(torch.split(t, lengths, dim=2) for t in (query, key, value)), strict=True):
        tokens = q.shape[2]
        mask = None
        if sliding_window is not None and tokens > sliding_window:
            mask = documents.get_window_mask(tokens, sliding_window, q.device)
        if softcap is None:
            outputs.append(_attend(q, k, v, mask, dropout, scaling))
        else:
            mask = mask if mask is not None else documents.get_window_mask(tokens, tokens, q.device)
            outputs.append(_attend_capped(q, k, v, mask, dropout, scaling, softcap))
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return joined.transpose(1, 2).to(dtype).contiguous(), None


def attend_grouped(
    documents: Documents,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
) -> Tensor:
    """Returns attention within each document, one call per group of similar lengths.

    All tensors are ``(1, heads, tokens, width)``; ``key`` and ``value`` may have fewer heads.
    """
    groups = documents.get_groups(query.device)
    parts = []
    for number, table in enumerate(groups.indices):
        q, k, v = (groups.spread(one, number) for one in (query, key, value))
        longest, mask = table.shape[1], None
        if sliding_window is not None and longest > sliding_window:
            mask = documents.get_window_mask(longest, sliding_window, query.device)
        parts.append(_attend(q, k, v, mask, dropout, scaling))
    return groups.join(parts)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scaling: float | None
) -> Tensor:
    if q.shape[1] != k.shape[1] and q.is_cuda and not _shares_heads(q, k, v, mask, dropout):
        k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for one in (k, v))
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _shares_heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> bool:
    """Returns whether a kernel of the card lets several heads of ``q`` share one of ``k``.

    With a window, in 32 bits and on older cards flash attention does not compute. torch would then
    turn without a word to its general way, which holds the scores of all pairs of tokens, unless
    the shared heads are written out.
    """
    cuda = torch.backends.cuda
    question = cuda.SDPAParams(q, k, v, mask, dropout, mask is None, True)
    return cuda.can_use_flash_attention(question) or cuda.can_use_efficient_attention(question)


def _attend_capped(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    dropout: float,
    scaling: float | None,
    softcap: float,
) -> Tensor:
    """Returns attention whose scores are squeezed into (-softcap, softcap).

    Source: Gemma 2 technical report, section 2, "Logit soft-capping".
    """
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scale = q.shape[-1] ** -0.5 if scaling is None else scaling
    scores = softcap * torch.tanh(q @ k.transpose(-1, -2) * scale / softcap)
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1)
    return F.dropout(weights, dropout, training=dropout > 0) @ v


# Without an entry in transformers' table of mask builders no mask is built for this name.
AttentionInterface.register(PACKED, attend_packed)
