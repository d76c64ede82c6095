"""What every layer with a low-rank update has in common: the small matrices and their product."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from studio.engine.lora.variants import get_variant
from studio.engine.lora.variants.dora import compute_norm, rescale
from studio.engine.lora.wrapped import WrappedModule


class AdaptedModule(WrappedModule):
    """A frozen layer with a low-rank update beside it.

    ``lora_A`` is ``(rank, in)`` and ``lora_B`` is ``(out, rank)``, fp32
    unless told otherwise. ``lora_magnitude`` is ``(out,)`` where the variant learns lengths, else
    None.

    An init that starts with matrices other than zero (PiSSA, OLoRA) keeps them as ``start_A`` and
    ``start_B``: the update is ``s (B A - start_B start_A)``, nothing at first, and the base stays
    as it was published.
    """

    is_lookup = False
    """True where the input is token ids: A is then looked up instead of multiplied."""

    keeps_zeros = False
    """True where the update does nothing to weights of the base that are zero."""

    def __init__(
        self,
        base: nn.Module,
        in_features: int,
        out_features: int,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        variant: str = "plain",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(base)
        weight = base.weight
        device = weight.device if isinstance(weight, torch.Tensor) else None
        chosen = get_variant(variant)
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.variant = variant
        self.scaling = chosen.get_scaling(rank, alpha)
        self.lora_A = nn.Parameter(torch.zeros(rank, in_features, dtype=dtype, device=device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, dtype=dtype, device=device))
        magnitude = torch.zeros(out_features, dtype=dtype, device=device)
        self.lora_magnitude = nn.Parameter(magnitude) if chosen.HAS_MAGNITUDE else None
        self.register_buffer("start_A", None, persistent=False)
        self.register_buffer("start_B", None, persistent=False)
        self.start_A: torch.Tensor | None
        self.start_B: torch.Tensor | None
        self._norm: tuple[object, torch.Tensor] | None = None

    @property
    def file_scale(self) -> tuple[int, float]:
        """The rank of the update as it is saved, start matrices included, and its alpha there."""
        if self.start_A is None:
            return self.rank, self.alpha
        get_scaling = get_variant(self.variant).get_scaling
        rank = 2 * self.rank
        return rank, self.alpha * (get_scaling(self.rank, 1.0) / get_scaling(rank, 1.0))

    def iter_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields what training changes, by its name in this module."""
        yield "lora_A", self.lora_A
        yield "lora_B", self.lora_B
        if self.lora_magnitude is not None:
            yield "lora_magnitude", self.lora_magnitude

    def set_start(self, start_a: torch.Tensor, start_b: torch.Tensor) -> None:
        """Lets the update be counted from ``s start_B start_A`` instead of from nothing."""
        self.start_A = start_a.to(self.lora_A)
        self.start_B = start_b.to(self.lora_B)

    def set_magnitude(self) -> None:
        """Sets the learnt lengths, where there are any, so that the layer computes as its base."""
        if self.lora_magnitude is not None:
            self.fill(self.lora_magnitude, self._get_norm())

    def get_file_parts(self) -> dict[str, torch.Tensor]:
        """Returns the matrices as they are saved: A, B and, where there is one, the magnitude."""
        lora_a, lora_b = self.get_factors()
        parts = {"A": lora_a, "B": lora_b}
        if self.lora_magnitude is not None:
            parts["magnitude"] = self.lora_magnitude
        return parts

    def get_factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns A and B of the whole update: twice as high where it starts from matrices."""
        if self.start_A is None or self.start_B is None:
            return self.lora_A, self.lora_B
        return torch.cat((self.lora_A, self.start_A)), torch.cat((self.lora_B, -self.start_B), 1)

    def get_delta(self) -> torch.Tensor:
        """Returns the update in fp32, in the layout of the base's own weight."""
        if self.lora_magnitude is None:
            return self.to_base_layout(self._get_product().detach())
        merged = self._get_direction() * self._get_length_factor()
        return self.to_base_layout((merged - self.get_base_matrix()).detach())

    def get_merged_weight(self) -> torch.Tensor:
        """Returns the base's weight plus the update in fp32, in the layout of the base's weight."""
        factor = 1.0 if self.lora_magnitude is None else self._get_length_factor()
        return self.to_base_layout((self._get_direction() * factor).detach())

    def get_base_matrix(self) -> torch.Tensor:
        """Returns the base's weight in fp32 as ``(out, in)``."""
        raise NotImplementedError

    def to_base_layout(self, delta: torch.Tensor) -> torch.Tensor:
        """Returns ``delta`` of ``(out, in)`` in the layout of the base's weight."""
        return delta

    def extra_repr(self) -> str:
        """Returns the rank, the scaling and whether the update is on, for printing the model."""
        return f"rank={self.rank}, scaling={self.scaling:g}, is_enabled={self.is_enabled}"

    def _rescale(
        self, output: torch.Tensor, bias: torch.Tensor | None, shape: tuple[int, ...] = (-1,)
    ) -> torch.Tensor:
        """Returns ``output`` with the learnt lengths, if any, which are viewed as ``shape``."""
        if self.lora_magnitude is None:
            return output
        bias = None if bias is None else bias.view(shape)
        return rescale(output, self.lora_magnitude.view(shape), self._get_norm().view(shape), bias)

    def _get_norm(self) -> torch.Tensor:
        """Returns ``|W + s B A|``; while answering it is computed only once.

        While gradients are recorded it is computed anew: a fused optimizer changes the matrices
        without counting their versions up.
        """
        kept = (self.lora_A, self.lora_B, self.base.weight)
        state = [(id(tensor), tensor._version, tensor.device) for tensor in kept]  # noqa: SLF001 - torch has no public name for it
        if self.training or torch.is_grad_enabled():
            self._norm = None
        if self._norm is None or self._norm[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                self._norm = (state, compute_norm(self._get_direction()))
        return self._norm[1]

    def _get_product(self) -> torch.Tensor:
        lora_a, lora_b = self.get_factors()
        return lora_b.float() @ lora_a.float() * self.scaling

    def _get_direction(self) -> torch.Tensor:
        return self.get_base_matrix() + self._get_product()

    def _get_length_factor(self) -> torch.Tensor:
        magnitude = self.lora_magnitude
        if magnitude is None:
            raise LookupError("this variant learns no lengths")
        return (magnitude / self._get_norm()).unsqueeze(1)
