"""Builds the starter kit: texts, tokenizer, base model, data sets; all from one seed.

Run ``python packaging/build_starter.py`` to write ``resources/starter`` anew. The same seed,
number of steps, library versions and processor family give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

import torch
from starter.base_model import build_model, train_base
from starter.chat_data import ChatSet, build_chat_sets, write_chat_set
from starter.corpus import QuestionBook, build_question_book, write_page
from starter.kit import write_build_record, write_card, write_description
from starter.probe import answer_greedily, measure_accuracy
from starter.tokenizer import save_tokenizer, train_tokenizer
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "resources" / "starter"
DEFAULT_SEED = 7
DEFAULT_STEPS = 2000
_VOCABULARY_SIZE = 1400
_PAGES_FOR_TOKENIZER = 400
DEFAULT_QUESTIONS = 400
_CARD_PROMPTS = (
    "What does Mira do?", "Who has a parrot?", "How much do 3 honey cakes cost?",
    "Where is the lighthouse?", "Tell me a story about Greta.", "What is your name?",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Builds the kit as the arguments say and returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the starter kit of LoRA Studio.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the kit")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of everything random")
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="training steps")
    parser.add_argument(
        "--questions", type=int, default=DEFAULT_QUESTIONS, help="questions per measured accuracy"
    )
    options = parser.parse_args(arguments)
    build_kit(options.out, seed=options.seed, steps=options.steps, questions=options.questions)
    return 0


def build_kit(out: Path, *, seed: int, steps: int, questions: int) -> None:
    """Writes the whole kit into ``out``, replacing its model and data folders."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()
    model_folder, data_folder = out / "model", out / "data"
    for folder in (model_folder, data_folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    book = build_question_book()
    chat_sets = build_chat_sets(book, seed)
    for chat_set in chat_sets:
        write_chat_set(chat_set, data_folder)
    tokenizer = train_tokenizer(tokenizer_texts(book, chat_sets, seed), _VOCABULARY_SIZE)
    save_tokenizer(tokenizer, model_folder)
    model = build_model(tokenizer, seed)
    loss = train_base(model, tokenizer, book, steps=steps, seed=seed, report=_print_progress)
    _save_model(model, model_folder)
    facts = _measure(model, tokenizer, book, seed, questions) | {
        "seed": seed, "steps": steps, "final_loss": round(loss, 5)
    }  # fmt: skip
    examples = list(
        zip(_CARD_PROMPTS, answer_greedily(model, tokenizer, _CARD_PROMPTS), strict=True)
    )
    write_card(model_folder, facts, examples)
    write_description(out)
    write_build_record(out, facts)
    print(f"built in {time.monotonic() - started:.0f} s: {facts}")


def tokenizer_texts(book: QuestionBook, chat_sets: tuple[ChatSet, ...], seed: int) -> list[str]:
    """Returns the texts the tokenizer learns from: all that is trained, nothing held out."""
    pages = random.Random(f"{seed}-pages")
    questions = (*book.training, *book.follow_ups)
    texts = [text for question in questions for text in (question.prompt, question.answer)]
    texts += [text for chat_set in chat_sets for row in chat_set.rows for text in row]
    return texts + [write_page(book, pages) for _ in range(_PAGES_FOR_TOKENIZER)]


def _save_model(model: LlamaForCausalLM, folder: Path) -> None:
    model.save_pretrained(folder)


def _measure(
    model: LlamaForCausalLM, tokenizer: Tokenizer, book: QuestionBook, seed: int, count: int
) -> dict[str, object]:
    groups = {"combination_accuracy": book.combinations, "phrasing_accuracy": book.phrasings}
    return {"parameters": sum(weight.numel() for weight in model.parameters())} | {
        name: measure_accuracy(model, tokenizer, questions, count=count, seed=seed)
        for name, questions in groups.items()
    }


def _print_progress(step: int, loss: float) -> None:
    if step % 100 == 0:
        print(f"step {step}  loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
