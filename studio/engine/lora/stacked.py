"""One layer of a model with the updates of many adapters beside it, chosen row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.embedding import AdaptedEmbedding, get_output_factor
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.lora.routing import Layout, Routing, RowsLost, Run, Span, Spans
from studio.engine.lora.variants.dora import compute_norm
from studio.engine.lora.wrapped import WrappedModule

_MOST_RUNS_ON_CARDS = 2
"""On cards every product costs a launch: with more runs, all rows meet all adapters instead."""


@dataclass(frozen=True)
class Piece:
    """The matrices of a run: A as ``(rows, in, rank)`` and B as ``(rows, rank, out)``."""

    run: Run
    lora_a: Tensor
    lora_b: Tensor


@dataclass(frozen=True)
class Part:
    """What one layer multiplies with for the choices that ``spans`` stand for.

    ``lora_a`` is ``(in, ranks)`` and ``lora_b`` ``(ranks, out)``: the columns and rows of ``span``.
    ``pieces`` are the same run by run, where that is the faster way; all are views.
    """

    spans: Spans
    span: Span
    lora_a: Tensor
    lora_b: Tensor
    pieces: tuple[Piece, ...]


class StackedModule(WrappedModule):
    """``W x + b`` and for each row the update of its own adapter, in few products for all rows.

    The matrices A of all adapters stand beside each other as ``(in, sum of ranks)``, the B's,
    scaled, on each other as ``(sum of ranks, out)``. Rows that follow each other with adapters
    that follow each other are two batched products. Where the input does not say which row is
    which, or there are too many of these, every row meets all adapters, and a mask between the
    two products leaves to each row its own adapter, times its strength. What learns lengths
    (DoRA) is ``W x (f - 1) + f s B A x`` more than the base, ``f = m / |W + s B A|`` per output.
    What is no low-rank update (layers and tokens trained in full, updates that keep zeros) is
    computed for its rows alone.

    Only for answering: nothing here has a gradient.
    """

    def __init__(self, base: nn.Module, routing: Routing) -> None:
        super().__init__(base)
        self._routing = routing
        self._layout: Layout = ()
        self._tall_a: Tensor | None = None
        self._tall_b: Tensor | None = None
        self._part: Part | None = None
        self._lengths: dict[str, Tensor] = {}
        self._whole: dict[str, WrappedModule] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no adapter has anything here."""
        return not self._layout and not self._whole

    @torch.no_grad()
    def add(self, name: str, wrapped: WrappedModule) -> None:
        """Takes over what the adapter ``name`` has in this place."""
        self._part = None
        if not isinstance(wrapped, (AdaptedLinear, AdaptedEmbedding)) or wrapped.keeps_zeros:
            self._whole[name] = wrapped
            return
        dtype = _get_dtype(wrapped)
        lora_a, lora_b = wrapped.get_factors()
        tall_b = (lora_b.detach() * wrapped.scaling).t()
        if wrapped.lora_magnitude is not None:
            factor = _compute_length_factor(wrapped)
            tall_b = tall_b * factor
            self._lengths[name] = (factor - 1).to(dtype)
        self._store_a(_join(self._get_rows_of_a(), lora_a.detach().to(dtype), 0))
        self._tall_b = _join(self._tall_b, tall_b.to(dtype), 0)
        self._layout = (*self._layout, (name, lora_a.shape[0]))

    def remove(self, name: str) -> None:
        """Forgets what the adapter ``name`` has in this place."""
        self._part = None
        self._whole.pop(name, None)
        self._lengths.pop(name, None)
        if name not in dict(self._layout) or self._tall_a is None or self._tall_b is None:
            return
        keeps = [own != name for own, rank in self._layout for _ in range(rank)]
        kept = torch.tensor([index for index, stays in enumerate(keeps) if stays], dtype=torch.long)
        kept = kept.to(self._tall_b.device)
        self._layout = tuple(entry for entry in self._layout if entry[0] != name)
        if not self._layout:
            self._tall_a = self._tall_b = None
            return
        self._store_a(self._tall_a.t().index_select(0, kept))
        self._tall_b = self._tall_b.index_select(0, kept)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Returns the base's output with the update of each row's adapter.

        Raises:
            RowsLost: Rows have different adapters, and the input does not say which row is which.
        """
        output = self.base(*inputs, **named)
        if not self.is_enabled:
            return output
        if self._tall_a is not None:
            part = self._find_part(output)
            if part is not None:
                output = self._add_updates(inputs[0], output, part)
        for name, module in self._whole.items():
            rows = self._routing.find_rows(name)
            if rows:
                output = self._replace_rows(module, rows, output, inputs, named)
        return output

    def _get_rows_of_a(self) -> Tensor | None:
        return None if self._tall_a is None else self._tall_a.t()

    def _store_a(self, rows: Tensor) -> None:
        """Keeps ``rows`` ``(ranks, in)`` on their side: lookups read whole rows of that."""
        self._tall_a = rows.t()
        if isinstance(self.base, nn.Embedding):
            self._tall_a = self._tall_a.contiguous()

    def _find_part(self, output: Tensor) -> Part | None:
        """Returns what the rows of now need of this layer, None for nothing."""
        part, spans = self._part, self._routing.spans
        if part is not None and part.spans is spans:
            return part
        span = self._routing.find_span(self._layout, output)
        if span is None or self._tall_a is None or self._tall_b is None:
            return None
        where = slice(span.start, span.stop)
        pieces = () if span.mask is None else self._cut(self._tall_a, self._tall_b)
        self._part = Part(spans, span, self._tall_a[:, where], self._tall_b[where], pieces)
        return self._part

    def _cut(self, tall_a: Tensor, tall_b: Tensor) -> tuple[Piece, ...]:
        """Returns the matrices run by run, nothing where that is not how they are used."""
        runs = self._routing.find_runs(self._layout, tall_b)
        has_too_many = tall_b.device.type != "cpu" and len(runs) > _MOST_RUNS_ON_CARDS
        if isinstance(self.base, nn.Embedding) or has_too_many:
            return ()
        pieces = []
        for run in runs:
            where = slice(run.start, run.start + run.rows * run.rank)
            lora_a = tall_a.t()[where].view(run.rows, run.rank, -1).transpose(1, 2)
            pieces.append(Piece(run, lora_a, tall_b[where].view(run.rows, run.rank, -1)))
        return tuple(pieces)

    def _add_updates(self, inputs: Tensor, output: Tensor, part: Part) -> Tensor:
        span, lora_a, lora_b = part.span, part.lora_a, part.lora_b
        is_lookup = isinstance(self.base, nn.Embedding)
        if not is_lookup and span.mask is None and inputs.shape[:-1] == output.shape[:-1]:
            return self._add_to_all(inputs, output, part)
        if part.pieces and span.mask is not None and _are_rows(len(span.mask), inputs, output):
            return self._add_run_by_run(inputs, output, part.pieces)
        if isinstance(self.base, nn.Embedding):
            hidden = functional.embedding(inputs, lora_a) * get_output_factor(self.base)
        else:
            flat = inputs.reshape(-1, inputs.shape[-1]).to(lora_a.dtype)
            hidden = torch.mm(flat, lora_a).view(*inputs.shape[:-1], -1)
        if span.mask is not None:
            hidden = hidden * _spread(span.mask, hidden)
        elif span.strength != 1.0:
            hidden = hidden * span.strength
        if self._lengths:
            output = self._stretch(output)
        if hidden.shape[:-1] != output.shape[:-1]:  # the base saw one row that stands for all
            output = output.expand(*hidden.shape[:-1], -1)
        flat = output.reshape(-1, output.shape[-1])
        added = torch.addmm(flat, hidden.view(-1, hidden.shape[-1]).to(flat.dtype), lora_b)
        return added.view(*hidden.shape[:-1], -1)

    def _add_to_all(self, inputs: Tensor, output: Tensor, part: Part) -> Tensor:
        if self._lengths:
            output = self._stretch(output)
        flat = inputs.reshape(-1, inputs.shape[-1]).to(part.lora_a.dtype)
        hidden = torch.mm(flat, part.lora_a).to(output.dtype)
        rows = output.reshape(-1, output.shape[-1])  # the base's output is nobody else's
        return rows.addmm_(hidden, part.lora_b, alpha=part.span.strength).view(output.shape)

    def _add_run_by_run(self, inputs: Tensor, output: Tensor, pieces: tuple[Piece, ...]) -> Tensor:
        if self._lengths:
            output = self._stretch(output)
        for piece in pieces:
            run = piece.run
            own, out = inputs, output
            if run.rows < len(inputs):
                own = inputs.narrow(0, run.first_row, run.rows)
                out = output.narrow(0, run.first_row, run.rows)
            hidden = torch.bmm(own.to(piece.lora_a.dtype), piece.lora_a)
            if run.strengths is not None:
                hidden = hidden * run.strengths
            factor = 1.0 if run.strengths is not None else run.strength
            out.baddbmm_(hidden.to(out.dtype), piece.lora_b, alpha=factor)
        return output

    def _stretch(self, output: Tensor) -> Tensor:
        """Returns the base's output with the lengths that some adapters learnt."""
        span = self._routing.find_span(tuple((name, 1) for name in self._lengths), output)
        if span is None:
            return output
        lengths = torch.stack(list(self._lengths.values()))[span.start : span.stop]
        bias = getattr(self.base, "bias", None)
        plain = output if bias is None else output - bias
        if span.mask is None:
            return output + plain * (lengths[0] * span.strength)
        factors = (span.mask @ lengths).view(len(span.mask), *[1] * (output.ndim - 2), -1)
        return output + plain * factors

    def _replace_rows(
        self,
        module: WrappedModule,
        rows: list[int],
        output: Any,
        inputs: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Any:
        choices = self._routing.choices
        if self._routing.is_uniform:
            return _mix(output, module(*inputs, **named), choices[0].strength)
        sees_rows = (
            len(inputs) == 1
            and not any(isinstance(value, Tensor) for value in named.values())
            and isinstance(output, Tensor)
            and isinstance(inputs[0], Tensor)
            and inputs[0].ndim >= (3 if inputs[0].is_floating_point() else 2)
            and inputs[0].shape[0] == output.shape[0] == len(choices)
        )
        if not sees_rows:
            raise RowsLost(type(self.base).__name__)
        index = torch.tensor(rows, device=output.device)
        strengths = torch.tensor([choices[row].strength for row in rows]).to(output)
        own = module(inputs[0][index], **named)
        weight = strengths.view(-1, *[1] * (output.ndim - 1))
        return output.index_copy(0, index, torch.lerp(output[index], own, weight))


def _are_rows(count: int, inputs: Tensor, output: Tensor) -> bool:
    """Returns whether both are ``(rows, tokens, width)`` with one row for each choice."""
    return inputs.ndim == output.ndim == 3 and inputs.shape[0] == output.shape[0] == count


def _spread(mask: Tensor, hidden: Tensor) -> Tensor:
    """Returns the mask ``(rows, ranks)`` in the shape of ``hidden`` ``(rows, …, ranks)``."""
    # without a dimension for tokens, rows may have been put in another order (experts)
    if hidden.ndim < 3 or hidden.shape[0] not in (1, len(mask)):
        raise RowsLost("the rows of the batch")
    return mask.view(len(mask), *[1] * (hidden.ndim - 2), -1)


def _mix(base: Any, own: Any, strength: float) -> Any:
    if strength == 1.0:
        return own
    if isinstance(own, Tensor):
        return torch.lerp(base, own, strength) if own.is_floating_point() else own
    if isinstance(own, tuple):
        return tuple(_mix(one, other, strength) for one, other in zip(base, own, strict=True))
    return own


def _join(tall: Tensor | None, piece: Tensor, side: int) -> Tensor:
    return (
        piece.clone(memory_format=torch.contiguous_format)
        if tall is None
        else torch.cat((tall, piece), side)
    )


def _get_dtype(module: AdaptedModule) -> torch.dtype:
    if isinstance(module, AdaptedLinear):
        return module.frozen.compute_dtype
    return cast(Tensor, module.base.weight).dtype


def _compute_length_factor(module: AdaptedModule) -> Tensor:
    """Returns ``m / |W + s B A|``, ``(out,)`` in fp32."""
    if module.lora_magnitude is None:
        raise LookupError("this variant learns no lengths")
    lora_a, lora_b = module.get_factors()
    product = lora_b.detach().float() @ lora_a.detach().float() * module.scaling
    return module.lora_magnitude.detach() / compute_norm(module.get_base_matrix() + product)
