"""One layer of a model with the updates of many adapters beside it, chosen row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.embedding import AdaptedEmbedding, get_output_factor
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.lora.variants.dora import compute_norm
from studio.engine.lora.wrapped import WrappedModule

Layout = tuple[tuple[str, int], ...]
"""Adapters in the order in which their ranks follow each other in a layer's tall matrices."""


class RowsLost(Exception):
    """A layer sees its input in a shape that no longer says which row of the batch it is from."""


@dataclass(frozen=True)
class RowChoice:
    """What one row of a batch is computed with; ``adapter`` None is the base alone.

    ``strength`` is multiplied with the adapter's update: 0 is the base, 1 the adapter as trained.
    """

    adapter: str | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class Span:
    """The part of a layer's tall matrices that the batch needs, from ``start`` to ``stop``.

    ``mask`` is ``(rows, stop - start)`` and holds strengths; it is None where every row has the
    same adapter, whose strength is ``strength``.
    """

    start: int
    stop: int
    strength: float
    mask: Tensor | None


Spans = dict[tuple[Layout, torch.device, torch.dtype], "Span | None"]
_CHOICES_KEPT = 16


class Routing:
    """Which adapter each row of the batch has at this moment; shared by all layers of a model."""

    def __init__(self) -> None:
        self._choices: tuple[RowChoice, ...] = ()
        self._kept: dict[tuple[RowChoice, ...], Spans] = {}
        self._spans: Spans = {}

    @property
    def spans(self) -> Spans:
        """What layers need for the choices of now: the same object whenever these are the same."""
        return self._spans

    @property
    def choices(self) -> tuple[RowChoice, ...]:
        """One choice per row; empty means that every row is answered by the base."""
        return self._choices

    @property
    def is_uniform(self) -> bool:
        """Whether all rows are computed alike."""
        return len(set(self._choices)) <= 1

    def set(self, choices: Sequence[RowChoice]) -> None:
        """Replaces the choices of all rows."""
        self._choices = tuple(choices)
        if self._choices not in self._kept:
            if len(self._kept) >= _CHOICES_KEPT:
                self._kept.clear()
            self._kept[self._choices] = {}
        self._spans = self._kept[self._choices]

    def find_span(self, layout: Layout, like: Tensor) -> Span | None:
        """Returns the span for layers of this layout, on the device and in the dtype of ``like``.

        None means that no row needs anything of the layer.
        """
        key = (layout, like.device, like.dtype)
        if key not in self._spans:
            self._spans[key] = self._build_span(layout, like)
        return self._spans[key]

    def find_rows(self, adapter: str) -> list[int]:
        """Returns the rows that are computed with ``adapter``."""
        return [
            row
            for row, choice in enumerate(self._choices)
            if choice.adapter == adapter and choice.strength
        ]

    def _build_span(self, layout: Layout, like: Tensor) -> Span | None:
        places, start = {}, 0
        for name, rank in layout:
            places[name] = (start, start + rank)
            start += rank
        used = [
            places[choice.adapter]
            for choice in self._choices
            if choice.adapter in places and choice.strength
        ]
        if not used:
            return None
        first, last = min(used)[0], max(used)[1]
        if self.is_uniform:
            return Span(first, last, self._choices[0].strength, None)
        mask = torch.zeros(len(self._choices), last - first)
        for row, choice in enumerate(self._choices):
            if choice.adapter in places:
                begin, end = places[choice.adapter]
                if first <= begin < last:
                    mask[row, begin - first : end - first] = choice.strength
        return Span(first, last, 1.0, mask.to(like))


@dataclass(frozen=True)
class Part:
    """What one layer multiplies with for the choices that ``spans`` stand for.

    ``lora_a`` is ``(in, ranks)`` and ``lora_b`` ``(ranks, out)``: the columns and rows of ``span``.
    """

    spans: Spans
    span: Span
    lora_a: Tensor
    lora_b: Tensor


class StackedModule(WrappedModule):
    """``W x + b`` and for each row the update of its own adapter, in two products for all rows.

    The matrices A of all adapters stand beside each other as ``(in, sum of ranks)``, the B's,
    scaled, on each other as ``(sum of ranks, out)``. Every row meets all of them; a mask between
    the two products leaves to each row its own adapter, times its strength. What learns lengths
    (DoRA) is ``W x (f - 1) + f s B A x`` more than the base, ``f = m / |W + s B A|`` per output.
    What is no low-rank update (layers and tokens trained in full) is computed for its rows alone.

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
        if not isinstance(wrapped, (AdaptedLinear, AdaptedEmbedding)):
            self._whole[name] = wrapped
            return
        dtype = _get_dtype(wrapped)
        lora_a, lora_b = wrapped.get_factors()
        tall_b = (lora_b.detach() * wrapped.scaling).t()
        if wrapped.lora_magnitude is not None:
            factor = _compute_length_factor(wrapped)
            tall_b = tall_b * factor
            self._lengths[name] = (factor - 1).to(dtype)
        # A lies on its side: a lookup reads whole rows of it, and products of few rows are faster
        self._tall_a = _join(self._tall_a, lora_a.detach().t().to(dtype), 1)
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
        self._tall_a = self._tall_a.index_select(1, kept) if self._layout else None
        self._tall_b = self._tall_b.index_select(0, kept) if self._layout else None

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

    def _find_part(self, output: Tensor) -> Part | None:
        """Returns what the rows of now need of this layer, None for nothing."""
        part, spans = self._part, self._routing.spans
        if part is not None and part.spans is spans:
            return part
        span = self._routing.find_span(self._layout, output)
        if span is None or self._tall_a is None or self._tall_b is None:
            return None
        where = slice(span.start, span.stop)
        self._part = Part(spans, span, self._tall_a[:, where], self._tall_b[where])
        return self._part

    def _add_updates(self, inputs: Tensor, output: Tensor, part: Part) -> Tensor:
        span, lora_a, lora_b = part.span, part.lora_a, part.lora_b
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
