"""Which tensors a GGUF file holds, from which tensors of the base each one is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import torch

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.families import Family, get_head_size, get_layer_count
from studio.engine.export.gguf.mix import Recipe, choose_format
from studio.engine.export.gguf.numbers import Format, count_bytes
from studio.engine.export.gguf.rope import build_rope_tensors
from studio.engine.export.gguf.text_part import name_in_text
from studio.engine.export.plan import MergePlan
from studio.engine.export.shards import PlannedTensor, Room, iter_new_rows

_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
_EXPERT = re.compile(r"^(.*\.mlp\.experts)\.(\d+)\.(\w+_proj)\.weight$")
_PREFIXES = ("", "model.", "transformer.")


@dataclass(frozen=True)
class GgufTensor:
    """One tensor to write; ``shape`` has its columns last.

    Its values are those of ``parts`` one after the other (experts stand in several), or
    ``values``. ``is_transposed``, ``pairs`` (values per head whose halves become pairs) and
    ``offset`` say how they change on the way.
    """

    name: str
    shape: tuple[int, ...]
    kind: Format
    parts: tuple[PlannedTensor, ...] = ()
    values: torch.Tensor | None = None
    is_transposed: bool = False
    pairs: int = 0
    offset: float = 0.0

    @property
    def byte_count(self) -> int:
        """The size in the file."""
        return count_bytes(self.shape, self.kind)

    def iter_rows(self, room: Room | None = None) -> Iterator[torch.Tensor]:
        """Yields the values as ``(rows, columns)`` in fp32, some MiB at a time.

        With a ``room`` each block may lie where the one before did.
        """
        if self.values is not None:
            yield self.values.reshape(1, -1)
        for part in self.parts:
            if self.is_transposed:
                yield torch.cat(list(iter_new_rows(part))).t().float()
                continue
            for rows in iter_new_rows(part, max(1, self.pairs), room):
                yield self._turn(rows.float())

    def _turn(self, rows: torch.Tensor) -> torch.Tensor:
        if self.pairs:
            rows = turn_halves_into_pairs(rows.reshape(-1, self._columns), self.pairs)
        return rows + self.offset if self.offset else rows

    @property
    def _columns(self) -> int:
        return self.shape[-1] if len(self.shape) > 1 else 1


def turn_halves_into_pairs(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Returns ``rows`` of whole heads of ``size`` with row i beside row i + size / 2."""
    halves = rows.reshape(-1, 2, size // 2, rows.shape[-1])
    return halves.transpose(1, 2).reshape(rows.shape)


def turn_pairs_into_halves(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Returns the rows as they were before ``turn_halves_into_pairs``."""
    pairs = rows.reshape(-1, size // 2, 2, rows.shape[-1])
    return pairs.transpose(1, 2).reshape(rows.shape)


def plan_tensors(
    plan: MergePlan, config: Any, family: Family, recipe: Recipe, base: Path
) -> list[GgufTensor]:
    """Returns the tensors of the file in order.

    Raises:
        ModelUnusable: A tensor of the base has no place in llama.cpp's form of the model.
    """
    is_tied = bool(config.tie_word_embeddings) and not plan.is_untied
    planned = [tensor for shard in plan.shards.values() for tensor in shard]
    names = TensorNames(family, config)
    groups: dict[str, list[tuple[int, PlannedTensor]]] = {}
    for whole in planned:
        text_name = name_in_text(whole.name)
        if text_name is None:
            continue
        tensor = replace(whole, name=text_name)
        if tensor.name.endswith(_BUFFERS) or (is_tied and tensor.name == "lm_head.weight"):
            continue
        name, expert = names.find(tensor.name)
        if name is None:
            raise ModelUnusable(
                f"{base} holds the tensor {tensor.name}, which has no place in llama.cpp's form "
                f"of a {config.model_type} model.",
                "Export the merged model instead.",
            )
        groups.setdefault(name, []).append((expert, tensor))
    if not is_tied and "output.weight" not in groups:
        raise ModelUnusable(
            f"{base} has no output table (lm_head.weight).", "Copy or download the model again."
        )
    output = "token_embd.weight" if is_tied else "output.weight"
    count = get_layer_count(config)
    found = []
    for name, members in groups.items():
        parts = tuple(tensor for _, tensor in sorted(members, key=lambda pair: pair[0]))
        shape = names.get_shape(parts)
        kind = choose_format(name, shape, recipe, count, is_output=name == output)
        found.append(names.build(name, shape, kind, parts))
    for name, values in build_rope_tensors(config).items():
        found.append(GgufTensor(name, tuple(values.shape), Format.F32, values=values))
    return found


class TensorNames:
    """Translates tensor names of one model and knows how its tensors change."""

    def __init__(self, family: Family, config: Any) -> None:
        self._family = family
        self._map = gguf.get_tensor_name_map(family.arch, get_layer_count(config))
        self._head = get_head_size(config)

    def find(self, name: str) -> tuple[str | None, int]:
        """Returns the name in the file and, for an expert, which one it is (else 0)."""
        expert = 0
        match = _EXPERT.match(name)
        if match:
            name, expert = f"{match[1]}.{match[3]}.weight", int(match[2])
        for prefix in _PREFIXES:
            found = self._map.get_name(prefix + name, try_suffixes=(".weight", ".bias"))
            if found is not None:
                return found, expert
        return None, expert

    def find_all(self, name: str) -> list[str]:
        """Returns the names in the file of all that a model's own tensor ``name`` consists of.

        Only stacks of experts consist of several; a stack's own name has no end.
        """
        stem, _, last = name.rpartition(".")
        parts = [name]
        if stem.endswith(".experts"):
            ends = {"gate_up_proj": ("gate_proj", "up_proj")}.get(last, (last,))
            parts = [f"{stem}.{end}.weight" for end in ends]
        found = [self.find(part)[0] for part in parts]
        return [one for one in found if one is not None]

    def get_shape(self, parts: tuple[PlannedTensor, ...]) -> tuple[int, ...]:
        """Returns the shape of a tensor that is made of ``parts``."""
        shape = parts[0].source.shape
        if self._is_transposed(parts[0].name):
            shape = shape[::-1]
        return (len(parts), *shape) if _EXPERT.match(parts[0].name) else shape

    def build(
        self, name: str, shape: tuple[int, ...], kind: Format, parts: tuple[PlannedTensor, ...]
    ) -> GgufTensor:
        """Returns the tensor ``name`` made of ``parts``."""
        source = parts[0].name
        return GgufTensor(
            name,
            shape,
            kind,
            parts,
            is_transposed=self._is_transposed(source),
            pairs=self.get_pairs(source),
            offset=self._family.norm_offset if source.endswith("norm.weight") else 0.0,
        )

    def get_pairs(self, name: str) -> int:
        """Returns the rows per head if they change order in the tensor ``name``, else 0."""
        rotates = self._family.rotates_pairs and (".q_proj." in name or ".k_proj." in name)
        return self._head if rotates else 0

    def _is_transposed(self, name: str) -> bool:
        return name.endswith(self._family.transposes) if self._family.transposes else False
