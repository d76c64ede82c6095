"""A low-rank update beside a frozen table of token vectors."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from studio.core.errors import ModelUnusable
from studio.engine.lora.adapted import AdaptedModule


class AdaptedEmbedding(AdaptedModule):
    """``E[id] + s B A[:, id]``, times the factor that some tables (Gemma's) put on their output.

    ``lora_A`` is ``(rank, vocabulary)`` and ``lora_B`` is ``(width, rank)``. Dropout does not act
    here: the input is ids.

    Raises:
        ModelUnusable: The table computes more than a lookup times a factor.
    """

    is_lookup = True

    def __init__(self, base: nn.Module, **settings: Any) -> None:
        table = cast(nn.Embedding, base)
        super().__init__(base, table.num_embeddings, table.embedding_dim, **settings)
        _check_lookup(table)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns ``(…, width)`` for ``ids`` of ``(…)``, in the dtype of the base's output."""
        table = cast(nn.Embedding, self.base)
        vectors: torch.Tensor = table(ids)
        if not self.is_enabled:
            return vectors
        # The padding id receives no gradient, as in the base.
        lora_a, lora_b = self.get_factors()
        rows = functional.embedding(ids, lora_a.t(), padding_idx=table.padding_idx)
        update = (rows @ lora_b.t()) * self.scaling
        return self._rescale((vectors + update * get_output_factor(table)).to(vectors.dtype), None)

    def get_base_matrix(self) -> torch.Tensor:
        """Returns the table in fp32 as ``(width, vocabulary)``."""
        return cast(nn.Embedding, self.base).weight.detach().float().t()

    def to_base_layout(self, delta: torch.Tensor) -> torch.Tensor:
        """Returns ``delta`` of ``(width, vocabulary)`` as ``(vocabulary, width)``."""
        return delta.t()


def get_output_factor(table: nn.Embedding) -> torch.Tensor | float:
    """Returns what a table multiplies its rows by: 1, or the factor of Gemma's tables."""
    factor: torch.Tensor | float = getattr(table, "embed_scale", 1.0)
    return factor


def _check_lookup(table: nn.Embedding) -> None:
    if type(table).forward is nn.Embedding.forward or table.weight.device.type == "meta":
        return
    ids = torch.arange(min(4, table.num_embeddings), device=table.weight.device)
    with torch.no_grad():
        found, expected = table(ids), table.weight[ids] * get_output_factor(table)
    if found.shape != expected.shape or not torch.allclose(
        found.float(), expected.float(), rtol=1e-2, atol=1e-3
    ):
        raise ModelUnusable(
            f"Tables of type {type(table).__name__} compute more than a lookup, so that an adapter "
            "on them would be wrong.",
            "Leave the embeddings out of the target modules.",
        )
