"""A copy of a model whose tokenizer and tables know new tokens, streamed from disk to disk."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from studio.core.errors import ModelUnusable, RecipeInvalid
from studio.core.events.types import ExportProgressed
from studio.engine.export.merged import write_model
from studio.engine.export.plan import MergePlan, build_skeleton, find_tensor, lay_out
from studio.engine.export.shards import StoredTensor, read_shards
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.reference import check_model_folder
from studio.engine.vocabulary.growth import Growth
from studio.engine.vocabulary.tokenizer_files import add_tokens, check_new, find_first_free_id


def grow_model(
    base: Path, target: Path, tokens: Sequence[str]
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Writes the model in ``base`` with ``tokens`` added to ``target``; returns the files' names.

    The new tokens are never split and start as the mean of all others, in the table
    that reads them and in the head that writes them. Rows that the tables have to spare are used
    before they grow. Closing the generator early leaves nothing behind.

    Yields:
        ExportProgressed every 32 MiB and at the end.

    Raises:
        RecipeInvalid: No token, or one that exists already.
        ModelUnusable: The model has tables of an unusual kind, or is quantised.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    if not tokens:
        raise RecipeInvalid("No new token was named.", "Name at least one, for example <tool>.")
    check_model_folder(base)
    check_new(base, tokens)
    known = find_first_free_id(base)
    _check_written(base, tokens, known)
    shards = read_shards(base)
    tensors = {tensor.name: tensor for shard in shards.values() for tensor in shard}
    changes: dict[str, Growth] = {}
    for parameter in _find_tables(build_skeleton(base), base):
        source = find_tensor(parameter, tensors)
        if source is not None:
            columns = torch.Size(source.shape).numel() // source.shape[0]
            changes[source.name] = Growth((source.shape[0], columns), known, len(tokens))
    rows = {change.shape[0] + change.extra_rows for change in changes.values()}
    if len(rows) != 1:
        raise ModelUnusable(
            f"The tables of token vectors in {base} have different numbers of rows.", _REMEDY
        )
    _check_shapes(base, tensors, changes, rows.pop())

    def finish(folder: Path) -> None:
        add_tokens(folder, tokens)
        _set_vocabulary(folder / "config.json", max(c.extra_rows for c in changes.values()))

    plan = MergePlan(lay_out(shards, dict(changes), {}), is_untied=False)
    return (yield from write_model(base, target, plan, finish))


_PLAIN = "Choose a token of plain English letters and signs, for example <tool>."
_REMEDY = "Choose another model; this one cannot be given new tokens."


def _check_written(base: Path, tokens: Sequence[str], first: int) -> None:
    """Refuses tokens that the tokenizer would write in another way than they are read."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for path in base.glob("tokenizer*.json"):
            shutil.copyfile(path, folder / path.name)
        add_tokens(folder, tokens)
        tokenizer: Any = load_tokenizer(folder)
    for number, token in enumerate(tokens, first):
        if tokenizer.encode(token, add_special_tokens=False) != [number]:
            raise RecipeInvalid(f"This tokenizer does not read {token!r} as one token.", _PLAIN)
        if tokenizer.decode([number]) != token:
            raise RecipeInvalid(f"This tokenizer cannot write {token!r} again.", _PLAIN)


def _find_tables(model: nn.Module, base: Path) -> list[str]:
    """Returns the names of the parameters that have one row per token."""
    network: Any = model
    chosen = [network.get_input_embeddings(), network.get_output_embeddings()]
    names = [
        f"{name}.{own}"
        for name, module in model.named_modules()
        if any(module is table for table in chosen)
        for own, _ in module.named_parameters(recurse=False)
    ]
    if not names:
        raise ModelUnusable(f"{base} has no table of token vectors.", _REMEDY)
    return names


def _check_shapes(
    base: Path, tensors: dict[str, StoredTensor], changes: dict[str, Growth], rows: int
) -> None:
    """Refuses models in which something else has one row per token too."""
    config = load_config(base)
    config.get_text_config().vocab_size = rows
    with torch.device("meta"):
        grown = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    for name, parameter in grown.named_parameters():
        source = find_tensor(name, tensors)
        if source is None:
            continue
        change = changes.get(source.name)
        extra = 0 if change is None else change.extra_rows
        if tuple(parameter.shape) != (source.shape[0] + extra, *source.shape[1:]):
            raise ModelUnusable(
                f"In {base} the size of {source.name} depends on the number of tokens.", _REMEDY
            )


def _set_vocabulary(path: Path, extra_rows: int) -> None:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    inner = config.get("text_config")
    owner = inner if isinstance(inner, dict) and "vocab_size" in inner else config
    owner["vocab_size"] += extra_rows
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
