"""Spares the last layer what nobody reads: behind its attention only chosen rows are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studio.engine.models.attention import packed_documents
from studio.engine.models.body import CausalBody, make_probe_ids
from studio.engine.models.layers import find_attention, find_attention_output, find_layers

_PROBE_TOKENS = 9
_PROBE_ROWS = (1, 4, 5, 8)


class _AttentionDone(Exception):
    """Carries what the attention reads out, before the last projection, to the layer above."""

    def __init__(self, context: Tensor) -> None:
        super().__init__()
        self.context = context


@dataclass(frozen=True)
class LastLayer:
    """The last layer of a model, its attention, and the projection at the attention's end."""

    layer: nn.Module
    attention: nn.Module
    output: nn.Module

    @contextmanager
    def only(self, rows: Tensor) -> Iterator[None]:
        """Lets the layer give only ``rows`` of the flattened ``(batch * tokens)`` rows.

        Its result becomes ``(1, rows, width)``. The layer's own code runs twice: up to the end of
        the attention on all rows, which every row needs, and then, with the attention's result
        put in, on the chosen rows. The layer is not recomputed in the backward pass, which comes
        to it at once.
        """
        forward = self.layer.forward

        def run(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            try:
                with self._stopping_early():
                    forward(hidden, *args, **kwargs)
            except _AttentionDone as done:
                context = _pick(done.context, rows)
            else:
                raise RuntimeError("the layer does not use its attention's output projection")
            with self._answering(context):
                return forward(_pick(hidden, rows), *args, **kwargs)

        # Switched off out here: earlier versions of transformers 5 recompute what is called, which
        # in the backward pass would be the whole layer again.
        with _without_recomputing(self.layer), _instead_of_forward(self.layer, run):
            yield

    @contextmanager
    def _stopping_early(self) -> Iterator[None]:
        def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del module
            raise _AttentionDone(inputs[0])

        handle = self.output.register_forward_pre_hook(stop)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _answering(self, context: Tensor) -> Iterator[None]:
        def answer(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
            del args, kwargs
            return self.output(context), None

        with _instead_of_forward(self.attention, answer):
            yield


def find_last_layer(parts: CausalBody) -> LastLayer | None:
    """Returns the last layer, if its family can spare rows there: tried out, not guessed.

    Call it with the adapter in place.
    """
    layers = find_layers(parts.model)
    attention = find_attention(layers[-1]) if layers else None
    output = find_attention_output(attention) if attention is not None else None
    if not parts.is_split or attention is None or output is None:
        return None
    if any(isinstance(part, nn.Dropout) and part.p > 0 for part in attention.children()):
        return None  # dropout behind the projection would be left out
    found = LastLayer(layers[-1], attention, output)
    return found if _gives_same_rows(parts, found) else None


@torch.no_grad()
def _gives_same_rows(parts: CausalBody, last: LastLayer) -> bool:
    model = parts.model
    if model.device.type == "meta":
        return False
    ids = make_probe_ids(model, _PROBE_TOKENS)
    rows = torch.tensor(_PROBE_ROWS, device=model.device)
    was_training = model.training
    model.eval()
    try:
        with packed_documents(model, [_PROBE_TOKENS]):
            expected = parts.compute_hidden(input_ids=ids)[0, rows].float()
            with last.only(rows):
                found = parts.compute_hidden(input_ids=ids)[0].float()
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        # Whatever a foreign layer stumbles over, the answer is the same: compute all rows.
        return False
    finally:
        model.train(was_training)
    if found.shape != expected.shape:
        return False
    tolerance = 1e-4 if model.dtype == torch.float32 else 3e-2
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max() + 1e-6)


def _pick(values: Tensor, rows: Tensor) -> Tensor:
    return values.flatten(0, 1).index_select(0, rows).unsqueeze(0)


@contextmanager
def _instead_of_forward(module: nn.Module, forward: Any) -> Iterator[None]:
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _without_recomputing(layer: nn.Module) -> Any:
    if not getattr(layer, "gradient_checkpointing", False):
        return nullcontext()
    return _switched_off(layer)


@contextmanager
def _switched_off(layer: Any) -> Iterator[None]:
    layer.gradient_checkpointing = False
    try:
        yield
    finally:
        layer.gradient_checkpointing = True
