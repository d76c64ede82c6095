"""Reads a GGUF file back: the model it holds, its tokenizer and its chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.engine.export.gguf.families import Family, get_family
from studio.engine.export.gguf.pretokenizers import GPT2_PATTERN, PATTERNS
from studio.engine.export.gguf.tensors import TensorNames, turn_pairs_into_halves
from studio.engine.export.gguf.text_part import get_text_part, name_in_text
from studio.engine.export.gguf.unigram import build_unigram
from studio.engine.models.files import load_config

_DAMAGED = "Export it again, and check the drive."


class GgufContent:
    """One GGUF file, opened to be compared with what it was made from."""

    def __init__(self, path: Path) -> None:
        try:
            reader = gguf.GGUFReader(path)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ModelUnusable(f"{path} cannot be read back: {error}.", _DAMAGED) from error
        self._path = path
        self._fields = reader.fields
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the setting ``name`` as a Python value."""
        field = self._fields.get(name)
        return default if field is None else field.contents()

    @property
    def chat_template(self) -> str | None:
        """The chat template, if there is one."""
        found = self.get("tokenizer.chat_template")
        return None if found is None else str(found)

    @property
    def end_ids(self) -> set[int]:
        """The ids of all tokens that end an answer."""
        names = ("eos", "eot", "eom")
        found = [self.get(f"tokenizer.ggml.{name}_token_id") for name in names]
        return {int(index) for index in found if index is not None}

    def read_tensor(self, name: str) -> torch.Tensor:
        """Returns the values of a tensor in fp32.

        Raises:
            ModelUnusable: The file does not hold it.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise ModelUnusable(f"{self._path} lacks the tensor {name}.", _DAMAGED)
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        shape = [int(size) for size in reversed(tensor.shape.tolist())]
        return torch.from_numpy(values.copy()).reshape(shape)


def load_gguf_model(content: GgufContent, base: Path) -> PreTrainedModel:
    """Returns the model in a GGUF file as transformers computes it, in fp32.

    Only the shape of the network comes from ``base``, every number from the file.

    Raises:
        ModelUnusable: A tensor is missing or has another shape than the network needs.
    """
    config = get_text_part(load_config(base))
    family = get_family(config)
    config.tie_word_embeddings = "output.weight" not in content.tensors
    model: Any = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False
    )
    names = TensorNames(family, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = _restore(name, names, family, content)
            if values.shape != parameter.shape:
                raise ModelUnusable(
                    f"{name} has the shape {tuple(values.shape)} in the file instead of "
                    f"{tuple(parameter.shape)}.",
                    _DAMAGED,
                )
            parameter.copy_(values)
    loaded: PreTrainedModel = model.eval()
    return loaded


def load_lora_into(model: PreTrainedModel, content: GgufContent, base: Path) -> None:
    """Adds the adapter in a GGUF file to the weights of ``model``, its base.

    Raises:
        ModelUnusable: The file changes a tensor that the model does not have.
    """
    config = get_text_part(load_config(base))
    family = get_family(config)
    names = TensorNames(family, config)
    alpha = float(content.get(gguf.Keys.Adapter.LORA_ALPHA))
    pending = {name.rpartition(".")[0] for name in content.tensors}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            text_name = name_in_text(name) or name
            changes = []
            for stored in names.find_all(text_name):
                if stored in pending:
                    lora_a = content.read_tensor(f"{stored}.lora_a")
                    lora_b = content.read_tensor(f"{stored}.lora_b")
                    changes.append(lora_b @ lora_a * (alpha / lora_a.shape[-2]))
                    pending.discard(stored)
            if not changes:
                continue
            change = torch.cat(changes, -2)
            size = names.get_pairs(text_name)
            change = turn_pairs_into_halves(change, size) if size else change
            is_turned = bool(family.transposes) and name.endswith(family.transposes)
            parameter += change.t() if is_turned else change
    if pending:
        raise ModelUnusable(
            f"The file changes {min(pending)}, which the base does not have.", _DAMAGED
        )


def _restore(name: str, names: TensorNames, family: Family, content: GgufContent) -> torch.Tensor:
    found = names.find_all(name)
    if len(found) > 1:
        return torch.cat([content.read_tensor(one) for one in found], 1)
    values = content.read_tensor(found[0] if found else name)
    if family.norm_offset and name.endswith("norm.weight"):
        values = values - family.norm_offset
    if family.transposes and name.endswith(family.transposes):
        values = values.t()
    size = names.get_pairs(name)
    if not size:
        return values
    rows = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    return turn_pairs_into_halves(rows, size).reshape(values.shape)


class GgufTokenizer:
    """Cuts text as llama.cpp does with the tokenizer in a file, marks with a role included."""

    def __init__(self, content: GgufContent) -> None:
        self._tokens: list[str] = content.get("tokenizer.ggml.tokens")
        kinds = content.get("tokenizer.ggml.token_type")
        marks = (int(gguf.TokenType.CONTROL), int(gguf.TokenType.USER_DEFINED))
        added = [text for text, kind in zip(self._tokens, kinds, strict=True) if kind in marks]
        self._ids = {text: index for index, text in enumerate(self._tokens)}
        model = content.get("tokenizer.ggml.model")
        self._is_pieces, self._is_unigram = model == "llama", model == "t5"
        self._has_prefix = bool(content.get("tokenizer.ggml.add_space_prefix", True))
        self._scores: Sequence[float] = content.get("tokenizer.ggml.scores", [])
        if self._is_pieces:
            self._backend = Tokenizer(models.BPE())
        elif self._is_unigram:
            self._backend = build_unigram(
                self._tokens,
                self._scores,
                int(content.get("tokenizer.ggml.unknown_token_id")),
                bytes(content.get("tokenizer.ggml.precompiled_charsmap", b"")),
                is_split=bool(content.get("tokenizer.ggml.remove_extra_whitespaces")),
                is_known=[kind == gguf.TokenType.NORMAL for kind in kinds],
            )
        else:
            self._backend = _build_byte_level(content, self._ids)
        specials = [AddedToken(text, normalized=False, special=True) for text in added]
        self._backend.add_special_tokens(specials)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of ``text``; no mark is added before or after it."""
        if self._is_unigram:
            return self._find_likeliest(text)
        if not self._is_pieces:
            return [self._ids[token] for token in self._backend.encode(text).tokens]
        found: list[int] = []
        position = 0
        for mark, (start, end) in self._find_marks(text):
            found += self._join(text[position:start])
            found.append(self._ids[mark])
            position = end
        return found + self._join(text[position:])

    def _find_likeliest(self, text: str) -> list[int]:
        """Returns the likeliest pieces; marks were given ids behind those of the file."""
        encoding = self._backend.encode(text)
        pairs = zip(encoding.ids, encoding.tokens, strict=True)
        return [number if number < len(self._tokens) else self._ids[one] for number, one in pairs]

    def _find_marks(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        encoding = self._backend.encode(text)
        return list(zip(encoding.tokens, encoding.offsets, strict=True))

    def _join(self, text: str) -> list[int]:
        """Returns the pieces of ``text``: neighbours with the best score are joined first."""
        if not text:
            return []
        parts = list((" " * self._has_prefix + text).replace(" ", "\u2581"))
        while True:
            best, place = -1e30, -1
            for index in range(len(parts) - 1):
                number = self._ids.get(parts[index] + parts[index + 1])
                if number is not None and self._scores[number] > best:
                    best, place = self._scores[number], index
            if place < 0:
                return [number for part in parts for number in self._look_up(part)]
            parts[place : place + 2] = [parts[place] + parts[place + 1]]

    def _look_up(self, part: str) -> list[int]:
        number = self._ids.get(part)
        if number is not None:
            return [number]
        return [self._ids[f"<0x{byte:02X}>"] for byte in part.encode()]


def _build_byte_level(content: GgufContent, ids: Mapping[str, int]) -> Tokenizer:
    merges = [tuple(one.split(" ")) for one in content.get("tokenizer.ggml.merges", [])]
    known = [pair for pair in merges if len(pair) == 2 and "".join(pair) in ids]
    name = content.get("tokenizer.ggml.pre")
    patterns = {label: key for key, label in PATTERNS.items()}
    pattern, has_whole_words = patterns.get(name, (GPT2_PATTERN, False))
    backend = Tokenizer(models.BPE(dict(ids), known, ignore_merges=has_whole_words))
    cuts: list[Any] = [pre_tokenizers.Split(Regex(pattern), "isolated")]
    if name == "smollm":
        cuts.insert(0, pre_tokenizers.Digits(individual_digits=True))
    cuts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    backend.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    return backend
