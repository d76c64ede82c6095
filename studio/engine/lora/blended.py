"""Writes a mix of adapters as a normal adapter in PEFT's format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from studio.core.errors import FileUnusable, RecipeInvalid
from studio.core.files import replace_folder, write_atomically, write_json_atomically
from studio.core.weights.adapter_file import WEIGHTS_NAME
from studio.engine.lora.blend import BlendedModule
from studio.engine.lora.keys import build_key
from studio.engine.lora.peft_config import CONFIG_NAME
from studio.engine.lora.stored import StoredAdapter
from studio.engine.lora.weights_file import build_weights_file


def write_blended(modules: Mapping[str, BlendedModule], first: StoredAdapter, folder: Path) -> None:
    """Creates ``folder`` with the new adapter; base and kind of model are those of ``first``.

    Raises:
        FileUnusable: The folder exists and is not empty, or cannot be written to.
        RecipeInvalid: There is nothing to write: every strength is 0.
    """
    if not modules:
        raise RecipeInvalid(
            "Nothing is left of the mix: every strength is 0.", "Give one adapter a strength."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileUnusable(f"{folder} exists already and is not empty.", "Choose another folder.")
    tensors = {}
    for name, module in modules.items():
        for part, matrix in _shape(module):
            tensors[build_key(name, part, is_lookup=module.is_lookup)] = matrix
    with replace_folder(folder) as new:
        write_atomically(new / WEIGHTS_NAME, build_weights_file(tensors, first.seen))
        write_json_atomically(new / CONFIG_NAME, _build_config(modules, first))


def _shape(module: BlendedModule) -> tuple[tuple[str, Tensor], tuple[str, Tensor]]:
    """Returns A and B as files hold them: those of a convolution as kernels."""
    lora_a, lora_b = module.lora_a, module.lora_b
    if module.kernel:
        lora_a = lora_a.reshape(lora_a.shape[0], -1, *module.kernel)
        lora_b = lora_b.reshape(*lora_b.shape, *[1] * len(module.kernel))
    return ("A", lora_a), ("B", lora_b)


def _build_config(modules: Mapping[str, BlendedModule], first: StoredAdapter) -> dict[str, Any]:
    """Returns PEFT's settings; alpha equals the rank, so that the update is ``B A`` itself."""
    ranks = {name: module.lora_a.shape[0] for name, module in modules.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    others = {name: own for name, own in ranks.items() if own != rank}
    old = json.loads((first.folder / CONFIG_NAME).read_text(encoding="utf-8"))
    return {
        "alpha_pattern": others,
        "auto_mapping": None,
        "base_model_name_or_path": first.config.base_model,
        "bias": "none",
        "fan_in_fan_out": bool(old.get("fan_in_fan_out")),
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": others,
        "revision": first.config.revision,
        "target_modules": sorted(modules),
        "task_type": old.get("task_type"),
        "use_dora": False,
        "use_rslora": False,
    }
