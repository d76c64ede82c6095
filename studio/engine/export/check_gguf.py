"""Compares a finished GGUF file with what it was made from: numbers, words and stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from studio.engine.export.answers import Answerer, LlamaCppAnswerer, ModelAnswerer, has_llama_cpp
from studio.engine.export.certificate import Difference, Trial, find_difference
from studio.engine.export.gguf.model import GgufPlan
from studio.engine.export.gguf.numbers import Format
from studio.engine.export.gguf.read import GgufContent, GgufTokenizer, load_gguf_model
from studio.engine.export.gguf.vocabulary import find_turn_end

# The largest relative error of one tensor; what is not listed is quantised more coarsely.
_ERRORS = {Format.F32: 1e-6, Format.F16: 2e-3, Format.BF16: 5e-3, Format.Q8_0: 0.03}
_COARSE = 0.4
_SPARE_TOKENS = 8
_WORDS = (
    "Hello world, it's 12345 o'clock!",
    "  spaces,   tabs\tand\n\nlines ",
    "Grüße, ça va? Привет 你好 🙂",
    "def f(x):\n    return x**2",
)


def build_answerer(path: Path, base: Path, trials: Sequence[Trial]) -> Answerer:
    """Returns llama.cpp with the file where it is installed, else our own reading of the file.

    Raises:
        ModelUnusable: The file cannot be loaded.
    """
    if has_llama_cpp():
        longest = max(len(trial.ids) for trial in trials)
        return LlamaCppAnswerer(path, context_tokens=longest + _SPARE_TOKENS)
    return ModelAnswerer(load_gguf_model(GgufContent(path), base), "our own reading of the file")


def find_tensor_faults(plan: GgufPlan, content: GgufContent) -> Iterator[str]:
    """Yields what is wrong with each tensor that is not what was meant to be written."""
    for tensor in plan.tensors:
        stored = content.tensors.get(tensor.name)
        if stored is None or stored.tensor_type != tensor.kind:
            yield f"the tensor {tensor.name} is missing or stored in another format"
            continue
        values = content.read_tensor(tensor.name).reshape(-1)
        position, error, size = 0, 0.0, 0.0
        for rows in tensor.iter_rows():
            flat = rows.reshape(-1)
            found = values[position : position + flat.numel()]
            position += flat.numel()
            error += float((found - flat).square().sum())
            size += float(flat.square().sum())
        if error > (_ERRORS.get(tensor.kind, _COARSE) ** 2) * size + 1e-20:
            yield f"the numbers of {tensor.name} are not those of base and adapter"


def find_word_faults(
    content: GgufContent,
    answerer: Answerer,
    tokenizer: Any,
    trials: Sequence[Trial],
    template: str | None,
) -> tuple[list[Difference | None], list[str]]:
    """Returns where each prompt has other tokens than in training, and what is wrong else.

    ``template`` is the chat template of the training, None where it was plain text.
    """
    reasons = []
    encode = (
        answerer.encode if isinstance(answerer, LlamaCppAnswerer) else GgufTokenizer(content).encode
    )
    cut = {text: tokenizer(text, add_special_tokens=False).input_ids for text in _WORDS}
    reasons = [
        f"the text {text!r} is cut into other tokens"
        for text, ids in cut.items()
        if encode(text) != ids
    ]
    has_own_template = content.chat_template != template
    if has_own_template:
        reasons.append("the file has another chat template than the training")
    differences: list[Difference | None] = []
    for trial in trials:
        expected = list(trial.ids[: trial.prompt_count])
        if trial.question is None and not _is_text_exact(tokenizer, trial):
            differences.append(None)
            continue
        found = encode(_render(content, tokenizer, trial) if has_own_template else trial.text)
        bos = tokenizer.bos_token_id
        if content.get("tokenizer.ggml.add_bos_token") and found[:1] != [bos]:
            found = [bos, *found]
        differences.append(find_difference(expected, found))
    wrong = sum(difference is not None for difference in differences)
    if wrong:
        reasons.append(f"{wrong} of {len(trials)} prompts have other tokens than in training")
    if template is not None:
        missing = set(find_turn_end(tokenizer)) - content.end_ids
        if missing:
            words = ", ".join(map(str, tokenizer.convert_ids_to_tokens(sorted(missing))))
            reasons.append(f"answers would not stop: {words} is not among the ends of the file")
    return differences, reasons


def _is_text_exact(tokenizer: Any, trial: Trial) -> bool:
    """Returns whether a text that was put together from tokens is cut the same way again."""
    ids = tokenizer(trial.text, add_special_tokens=False).input_ids
    return list(ids) == list(trial.ids[: trial.prompt_count])


def _render(content: GgufContent, tokenizer: Any, trial: Trial) -> str:
    """Returns the prompt as the file's own template writes it."""
    if content.chat_template is None or trial.question is None:
        return trial.text
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": trial.question}],
            chat_template=content.chat_template,
            tokenize=False,
            add_generation_prompt=True,
        )
    )
