"""Multiplies a few rows with a weight at about the price of one, without a copy of the weight."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.engine.models.siblings import SameInput, iter_siblings

LEAST_ROWS, MOST_ROWS = 4, 12
_BLOCK, _LARGE_BLOCK = 16, 64
_LARGE = 4096


class FewRowsLinear(nn.Linear):
    """Computes as ``nn.Linear``, in another way from 4 to 12 rows: the columns of a comparison.

    The library for dense products rearranges the weight for these sizes, which costs more than
    the product. Cut into blocks of 16 outputs, as a batch of products, the weight is read once as
    it lies. Measured on one thread, 16,384 x 512: 3.3 ms instead of 5.7 for four rows, 3.6
    instead of 7.9 for eight (2.6 for one); 1408 x 512: 0.29 instead of 0.42 and 0.35 instead of
    0.51 (0.24). For one to three and from about 16 rows on the plain way is as fast or faster.

    Layers that read the same input are one product for up to 12 rows (``together``). Only for
    answering: weights get no gradients.
    """

    together: JoinedLinears | None = None
    place = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns ``(…, out)`` for ``inputs`` of ``(…, in)``."""
        rows = inputs.numel() // self.in_features
        weight, bias = self.weight, self.bias
        if rows > MOST_ROWS:
            return functional.linear(inputs, weight, bias)
        together = self.together
        # models hand on (rows, tokens, width); otherwise the layer is being tried out alone
        if together is not None and inputs.ndim > 2 and together.holds(self.place, weight):
            output = together.multiply(self.place, inputs, rows)
        elif rows < LEAST_ROWS:
            return functional.linear(inputs, weight, bias)
        else:
            output = _multiply(inputs, rows, weight, [len(weight)])[0]
        return output if bias is None else output.add_(bias)

    def __deepcopy__(self, memo: dict[int, object]) -> FewRowsLinear:
        twin = FewRowsLinear.__new__(FewRowsLinear)
        memo[id(self)] = twin
        kept = {name: value for name, value in vars(self).items() if name != "together"}
        vars(twin).update(copy.deepcopy(kept, memo))
        return twin


class JoinedLinears:
    """Layers that read the same input, whose weights lie one below the other in one tensor.

    The first to be called computes all of them, the others take what is theirs.
    """

    def __init__(self, layers: Sequence[FewRowsLinear]) -> None:
        self._sizes = [layer.out_features for layer in layers]
        self._weight = torch.cat([layer.weight.detach() for layer in layers])
        self._products: SameInput[tuple[Tensor, ...]] = SameInput(len(layers))
        self._addresses = []
        for place, (layer, weight) in enumerate(
            zip(layers, torch.split(self._weight, self._sizes), strict=True)
        ):
            layer.weight.data = weight
            layer.together, layer.place = self, place
            self._addresses.append(weight.data_ptr())

    def holds(self, place: int, weight: Tensor) -> bool:
        """Returns whether ``weight`` is still the one at ``place`` and the layers go together."""
        return self._addresses[place] == weight.data_ptr()

    def multiply(self, place: int, inputs: Tensor, rows: int) -> Tensor:
        """Returns ``(…, out)`` of the layer at ``place``, its bias left out."""
        found = self._products.find(place, inputs, self)
        if found is None:
            if self._products.is_waiting:  # the layers do not read the same after all
                self._addresses = [0] * len(self._addresses)
            found = _multiply(inputs, rows, self._weight, self._sizes)
            self._products.keep(place, inputs, self, found)
        return found[place]


def prepare_few_rows(model: nn.Module) -> None:
    """Lets the linear layers of ``model`` that gain from it compute as ``FewRowsLinear``.

    These are those in float32 on the processor with the library that has batches of products
    (MKL). Weights stay where and as they are, but for layers that read the same input: theirs move
    into one tensor, one such group at a time.
    """
    has_library: Callable[[], bool] = torch.backends.mkl.is_available
    if not has_library():
        return
    for module in model.modules():
        if type(module) is not nn.Linear:
            continue
        weight = module.weight
        is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
        if is_plain and weight.is_contiguous() and len(weight) >= _BLOCK:
            # Whoever holds the layer keeps holding it: another one would be put in many places.
            module.__class__ = FewRowsLinear
    for siblings in iter_siblings(model):
        layers = [one for one in siblings if type(one) is FewRowsLinear and one.together is None]
        if len(layers) == len(siblings) and _can_join(layers):
            JoinedLinears(layers)


def _can_join(layers: Sequence[FewRowsLinear]) -> bool:
    size = _find_block(sum(layer.out_features for layer in layers))
    return len({layer.in_features for layer in layers}) == 1 and not any(
        layer.out_features % size for layer in layers
    )


def _find_block(outputs: int) -> int:
    # of a large output, putting the blocks together costs more than what small ones save
    return _BLOCK if outputs < _LARGE else _LARGE_BLOCK


def _multiply(inputs: Tensor, rows: int, weight: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Returns the product with ``weight`` cut into parts of ``sizes`` outputs, each contiguous."""
    shape = inputs.shape[:-1]
    if rows < LEAST_ROWS:
        return tuple(
            part.contiguous() for part in torch.split(functional.linear(inputs, weight), sizes, -1)
        )
    flat, size = inputs.reshape(rows, -1), _find_block(len(weight))
    count, rest = divmod(len(weight), size)
    whole = weight[: count * size] if rest else weight
    blocks = whole.view(count, size, -1).transpose(1, 2)
    product = torch.bmm(flat.expand(count, -1, -1), blocks)
    if len(sizes) == 1:
        output = product.transpose(0, 1).reshape(rows, -1)
        if rest:
            output = torch.cat((output, functional.linear(flat, weight[-rest:])), dim=1)
        return (output.view(*shape, -1),)
    return tuple(
        part.transpose(0, 1).reshape(*shape, -1)
        for part in torch.split(product, [one // size for one in sizes])
    )
