"""Who answers while an export is checked: a transformers model, or llama.cpp where installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable
from studio.engine.models.load import load_model

_F32 = 0


class Answerer(Protocol):
    """A model to be compared; ``engine`` names the program that computes."""

    engine: str

    def compute_logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Returns the logits after each of ``ids``, ``(tokens, vocabulary)`` in fp32."""
        ...


class ModelAnswerer:
    """A model of transformers."""

    def __init__(self, model: PreTrainedModel, engine: str = "transformers") -> None:
        self.engine = engine
        self._model = model.eval()

    @torch.no_grad()
    def compute_logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Returns the logits after each of ``ids``, ``(tokens, vocabulary)`` in fp32."""
        found = self._model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits
        return torch.as_tensor(found[0]).float()


class LlamaCppAnswerer:
    """A GGUF file in llama.cpp itself, its cache kept in fp32."""

    def __init__(self, path: Path, *, context_tokens: int) -> None:
        llama_cpp: Any = importlib.import_module("llama_cpp")
        self.engine = f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"
        try:
            self._model = llama_cpp.Llama(
                str(path),
                n_ctx=context_tokens,
                n_batch=context_tokens,
                n_threads=max(1, torch.get_num_threads()),
                logits_all=True,
                type_k=_F32,
                type_v=_F32,
                flash_attn=False,
                verbose=False,
            )
        except ValueError as error:
            raise ModelUnusable(
                f"llama.cpp does not load {path}.", "Export it again, and check the drive."
            ) from error

    def compute_logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Returns the logits after each of ``ids``, ``(tokens, vocabulary)`` in fp32."""
        self._model.reset()
        self._model.eval(list(ids))
        return torch.tensor(self._model.scores[: len(ids)], dtype=torch.float32)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of ``text``, marks with a role read as such and none added."""
        return list(self._model.tokenize(text.encode(), add_bos=False, special=True))


def has_llama_cpp() -> bool:
    """Returns whether llama-cpp-python is installed; it never is by this program."""
    return importlib.util.find_spec("llama_cpp") is not None


def load_for_check(folder: Path, quantisation: str = "none") -> PreTrainedModel:
    """Returns the model in float32 where memory allows it, else in bfloat16.

    With a ``quantisation`` its linear layers are held in that.

    Raises:
        ModelUnusable: It cannot be loaded.
    """
    stored_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    has_room = 3 * stored_bytes < psutil.virtual_memory().available
    dtype = torch.float32 if has_room else torch.bfloat16
    return load_model(folder, dtype, torch.device("cpu"), quantisation=quantisation)
