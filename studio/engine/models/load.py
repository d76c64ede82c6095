"""Loads base models and tokenizers from local folders: safetensors only, no foreign code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from studio.core.errors import ModelUnusable, RecipeInvalid
from studio.engine.models.files import get_first_line, load_config
from studio.engine.models.heap import leave_files, returning_memory
from studio.engine.models.quantised import Quantising, Watch, quantising_class
from studio.engine.models.quiet import quiet_transformers
from studio.engine.models.reference import check_model_folder
from studio.engine.models.stored_format import take_stored_format
from studio.engine.quant import get_quantise

_TORCH_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(wish: str | int) -> tuple[torch.device, str]:
    """Returns the device to compute on and one sentence that says why.

    Raises:
        RecipeInvalid: The wished device does not exist on this machine.
    """
    has_cuda = torch.cuda.is_available()
    if wish == "auto":
        if has_cuda:
            return torch.device("cuda:0"), f"found {torch.cuda.get_device_name(0)}"
        return torch.device("cpu"), "no usable graphics card was found"
    if wish == "cpu":
        return torch.device("cpu"), "chosen in the recipe"
    if isinstance(wish, int) or wish.isdigit():
        if int(wish) != 1:
            raise RecipeInvalid(
                f"Training on {wish} cards at once is not available yet.",
                "Set the device to auto, cpu, or one card such as cuda:0.",
                code="not_available_yet",
            )
        return resolve_device("auto")
    name, _, index = wish.partition(":")
    count = torch.cuda.device_count() if has_cuda else 0
    if name != "cuda" or not (index.isdigit() or not index) or int(index or 0) >= count:
        raise RecipeInvalid(
            f"There is no device {wish} on this machine ({count} usable graphics cards found).",
            "Set the device to auto or cpu.",
        )
    return torch.device(f"cuda:{index or 0}"), "chosen in the recipe"


def resolve_dtype(wish: str, device: torch.device) -> tuple[torch.dtype, str]:
    """Returns the number format to hold the base in and one sentence that says why.

    Raises:
        RecipeInvalid: There is no such format.
    """
    if wish in _TORCH_DTYPES:
        return _TORCH_DTYPES[wish], "chosen in the recipe"
    if wish != "auto":
        raise RecipeInvalid(
            f"There is no number format {wish}.", f"Choose auto or {', '.join(_TORCH_DTYPES)}."
        )
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, "the card computes bfloat16 natively"
    if device.type == "cuda":
        return torch.float32, "the card does not compute bfloat16 natively"
    return torch.float32, "on the processor float32 is exact and not slower"


def load_model(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    *,
    quantisation: str = "none",
    keeps: tuple[str, ...] = (),
    watch: Watch | None = None,
    workshop: torch.device | None = None,
) -> PreTrainedModel:
    """Returns the causal language model in ``folder``, frozen, in evaluation mode, on ``device``.

    With a ``quantisation`` every linear layer inside it is quantised as soon as it is read, so
    that never more than one is there in full size; modules that a pattern in ``keeps`` names are
    not. ``watch`` says who sees weights before they are quantised, which happens on ``workshop``
    (``device`` if None). Weights that are stored quantised already stay so.

    Raises:
        ModelUnusable: The folder is no model, needs foreign code, is damaged or incomplete.
        NotAvailableYet: There is no such quantisation.
    """
    check_model_folder(folder)
    config = load_config(folder)
    stored = take_stored_format(folder, config)
    if stored is not None:
        convert = stored.build_converter(dtype)
    elif quantisation != "none":
        quantise, where = get_quantise(quantisation), workshop or device
        convert = Quantising(quantisation, quantise, dtype, where, keeps, watch, device).convert
    else:
        convert = None
    model = _read(folder, config, dtype, convert)
    if stored is not None:
        stored.fill(model)
    model.requires_grad_(False)
    model.eval()
    model = model.to(device)
    if convert is not None and stored is None:
        leave_files(model)
    return model


def _read(
    folder: Path, config: Any, dtype: torch.dtype, convert: Callable[[nn.Module], None] | None
) -> PreTrainedModel:
    # The import of the model classes takes a second; the checks before it come first.
    from transformers import AutoModelForCausalLM

    settings = {
        "config": config,
        "dtype": dtype,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    with quiet_transformers():
        try:
            if convert is None:
                model, report = AutoModelForCausalLM.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False, **settings
                )
            else:
                with torch.device("meta"):
                    empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
                kind = type(empty)
                with quantising_class(kind, convert) as own, returning_memory():
                    model, report = own.from_pretrained(
                        folder, local_files_only=True, trust_remote_code=False, **settings
                    )
                model.__class__ = kind
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            raise _describe_failure(folder, error) from error
    missing = sorted(str(name) for name in report["missing_keys"])
    if missing:
        raise ModelUnusable(
            f"The weights in {folder} are incomplete: {len(missing)} tensors that the model needs "
            f"are missing, the first is {missing[0]}.",
            "Complete the download, or choose a folder with a language model.",
        )
    loaded: PreTrainedModel = model
    return loaded


def _describe_failure(folder: Path, error: Exception) -> ModelUnusable:
    reason = get_first_line(error)
    if "Unrecognized configuration class" in str(error):
        return ModelUnusable(
            f"The model in {folder} is not a language model that writes text.",
            "Choose a causal language model (for example of the Llama, Qwen or GPT families).",
        )
    return ModelUnusable(
        f"The weights in {folder} cannot be loaded: {reason}",
        "The files may be damaged or incomplete: copy or download the model again.",
    )
