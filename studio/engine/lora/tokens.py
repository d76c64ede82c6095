"""Single rows of a token table that are trained while the rest of it stays frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from studio.core.errors import RecipeInvalid
from studio.engine.lora.embedding import get_output_factor
from studio.engine.lora.wrapped import WrappedModule


class TrainedTokens(WrappedModule):
    """A token table, or an output head tied to one, with some rows of its weights trained.

    ``rows`` is ``(count, width)`` in fp32 and starts as those rows of the base. A head that is
    tied to the table is given the table's own module as ``leader`` and computes with its rows.
    """

    def __init__(
        self, base: nn.Module, indices: Sequence[int], *, leader: TrainedTokens | None = None
    ) -> None:
        super().__init__(base)
        weight = cast(torch.Tensor, base.weight)
        self.indices = tuple(indices)
        self.is_leader = leader is None
        if leader is None:
            chosen = torch.tensor(self.indices, device=weight.device)
            values = weight.detach()[chosen].to(torch.promote_types(weight.dtype, torch.float32))
            self.rows = nn.Parameter(values.clone())
        else:
            self.rows = leader.rows
        # for each token the number of its row here, -1 for the many that are not trained
        slots = torch.full((weight.shape[0],), -1)
        slots[list(self.indices)] = torch.arange(len(self.indices))
        self.register_buffer("slots", slots.to(weight.device), persistent=False)
        self.slots: torch.Tensor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns vectors ``(…, width)`` for ids ``(…)``, or logits for hidden states."""
        output: torch.Tensor = self.base(inputs)
        if not self.is_enabled:
            return output
        if isinstance(self.base, nn.Embedding):
            return self._replace_vectors(inputs, output)
        index = torch.tensor(self.indices, device=output.device)
        own = functional.linear(inputs, self.rows.to(inputs.dtype))
        bias = self.base.bias
        if isinstance(bias, torch.Tensor):
            own = own + bias[index]
        return output.index_copy(-1, index, own.to(output.dtype))

    def iter_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the rows, once for a table and the head that is tied to it."""
        if self.is_leader:
            yield "rows", self.rows

    def _replace_vectors(self, ids: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        table = cast(nn.Embedding, self.base)
        slots = self.slots[ids]
        # The padding id receives no gradient, as in the base.
        is_padded = table.padding_idx in self.indices
        padding = self.indices.index(table.padding_idx) if is_padded else None
        rows = functional.embedding(slots.clamp_min(0), self.rows, padding_idx=padding)
        own = (rows * get_output_factor(table)).to(output.dtype)
        return torch.where((slots >= 0).unsqueeze(-1), own, output)


def build_trained_tokens(
    model: nn.Module, indices: Sequence[int], table_name: str | None = None
) -> dict[str, TrainedTokens]:
    """Returns the wrapped token table of ``model``, and the head where it is tied to the table.

    ``table_name`` is the full name of the table, or of a head with weights of its own; None means
    the model's own input table.

    Raises:
        RecipeInvalid: A token does not exist in the table, or there is no such table.
    """
    names = {id(module): name for name, module in model.named_modules()}
    find_table = getattr(model, "get_input_embeddings", None)
    table = find_table() if callable(find_table) else None
    if table_name is not None:
        table = dict(model.named_modules()).get(table_name)
    if not isinstance(table, nn.Embedding | nn.Linear):
        raise RecipeInvalid(
            "adapter.trained_tokens: this model has no table of token vectors.",
            "Leave the list empty.",
        )
    count = len(table.weight)
    missing = sorted(index for index in indices if not 0 <= index < count)
    if missing:
        raise RecipeInvalid(
            f"adapter.trained_tokens: there is no token {missing[0]}, the model has {count}.",
            f"Choose numbers from 0 to {count - 1}.",
        )
    leader = TrainedTokens(table, sorted(set(indices)))
    wrapped = {names[id(table)]: leader}
    for name, module in model.named_modules():
        is_tied = isinstance(module, nn.Linear) and module.weight is table.weight
        if is_tied and module is not table:
            wrapped[name] = TrainedTokens(module, leader.indices, leader=leader)
    return wrapped


def build_new_tokens(
    model: nn.Module, indices: Sequence[int], taken: Iterable[str]
) -> dict[str, TrainedTokens]:
    """Returns what new ``indices`` need: rows of the input table, and of a head that is its own.

    A token is read through the table and written through the head. A head named in ``taken`` is
    trained in another way already.

    Raises:
        RecipeInvalid: A token does not exist in the table, or there is no such table.
    """
    wrapped = build_trained_tokens(model, indices)
    find_head = getattr(model, "get_output_embeddings", None)
    head = find_head() if callable(find_head) else None
    name = next((name for name, module in model.named_modules() if module is head), None)
    if isinstance(head, nn.Linear) and name is not None and name not in {*wrapped, *taken}:
        wrapped |= build_trained_tokens(model, indices, name)
    return wrapped
