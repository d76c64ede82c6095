"""Compares an exported model folder with what it was made from: numbers, words and stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from studio.core.errors import StudioError
from studio.engine.data.answers import TemplateRefused
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.export.certificate import Difference, Trial, find_difference
from studio.engine.export.plan import MergePlan
from studio.engine.export.shards import PlannedTensor, StoredTensor, iter_new_rows, read_shards
from studio.engine.infer.speech import Speech, build_speech
from studio.engine.models.capabilities import read_stop_ids
from studio.engine.models.files import load_config, load_tokenizer

# One unit in the last place of each number format, relative to the number.
_ULPS = {torch.float64: 2e-15, torch.float32: 2.4e-7, torch.float16: 9.8e-4, torch.bfloat16: 7.9e-3}
_TINY = 1e-7


def find_merged_faults(plan: MergePlan, folder: Path) -> Iterator[str]:
    """Yields what is wrong with each tensor that is not what was meant to be written.

    Raises:
        ModelUnusable: The files cannot be read.
    """
    stored = {one.name: one for shard in read_shards(folder).values() for one in shard}
    for shard in plan.shards.values():
        for planned in shard:
            found = stored.get(planned.name)
            if found is None or found.shape != planned.source.shape:
                yield f"the tensor {planned.name} is missing or has another shape"
            elif found.dtype != planned.source.dtype:
                yield f"the tensor {planned.name} is stored as {found.dtype}"
            elif not _is_same(planned, found):
                yield f"the numbers of {planned.name} are not those of base and adapter"


def _is_same(planned: PlannedTensor, found: StoredTensor) -> bool:
    if planned.change is None and not planned.source.is_plain:
        return True  # copied byte by byte from a format without a meaning of its own here
    written = iter_new_rows(PlannedTensor(found.name, found))
    position = torch.zeros(0)
    ulp = _ULPS[_get_dtype(found)]
    for rows in iter_new_rows(planned):
        wanted = rows.reshape(-1)
        while len(position) < len(wanted):
            position = torch.cat([position, next(written).reshape(-1).to(wanted.dtype)])
        values, position = position[: len(wanted)], position[len(wanted) :]
        if not bool(((values - wanted).abs() <= ulp * wanted.abs() + _TINY).all()):
            return False
    return True


def _get_dtype(stored: StoredTensor) -> torch.dtype:
    names = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
    }
    return names[stored.dtype]


def find_speech_faults(
    folder: Path, speech: Speech, trials: Sequence[Trial], *, is_plain: bool
) -> tuple[list[Difference | None], list[str]]:
    """Returns where each prompt has other tokens than in training, and what is wrong else.

    ``is_plain``: it was trained without a chat template, so that the folder's own says nothing.
    """
    try:
        tokenizer, config = load_tokenizer(folder), load_config(folder)
        own = build_speech(
            folder,
            tokenizer,
            config,
            template="plain" if is_plain else "auto",
            base_folder=folder,
        )
    except StudioError as error:
        return [None] * len(trials), [f"the tokenizer cannot be loaded: {error.message}"]
    differences = [_compare_prompt(trial, own) for trial in trials]
    faults = []
    wrong = sum(difference is not None for difference in differences)
    if wrong:
        faults.append(f"{wrong} of {len(trials)} prompts have other tokens than in training")
    if not is_plain:
        missing = sorted(speech.stop_ids - set(read_stop_ids(folder, config)))
        if missing:
            words = ", ".join(map(str, speech.tokenizer.convert_ids_to_tokens(missing)))
            faults.append(f"answers would not stop: {words} is not among the ends of the model")
    return differences, faults


def _compare_prompt(trial: Trial, own: Speech) -> Difference | None:
    expected = trial.ids[: trial.prompt_count]
    if trial.question is None:
        # A conversation put together from its tokens; the questions above show the template.
        return None
    try:
        text = own.template.prompt(Conversation((Turn("user", trial.question),)))
    except TemplateRefused:
        return find_difference(expected, ())
    return find_difference(expected, own.encoder.prompt_ids(text))
