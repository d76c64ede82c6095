"""The starter kit as it lies in the repository: complete, small, safe, reproducible."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from studio.core.recipe.check import check_recipe
from studio.core.starter import load_starter

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "resources" / "starter"
MODEL = KIT / "model"
BUILDER = ROOT / "packaging" / "build_starter.py"
SPECIAL_TOKENS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CONVERSATION = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "What does Mira do?"},
    {"role": "assistant", "content": "Mira is the baker."},
    {"role": "user", "content": "Where does she work?"},
    {"role": "assistant", "content": "Mira works in the bakery."},
]


def load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def load_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shows_behaviour(behaviour: dict[str, str], answer: str) -> bool:
    if behaviour["kind"] == "regex":
        return re.search(behaviour["pattern"], answer) is not None
    assert behaviour["kind"] == "json_object"
    try:
        return isinstance(json.loads(answer), dict)
    except ValueError:
        return False


DESCRIPTION = load_json(KIT / "starter.json")
DATA_SETS = pytest.mark.parametrize(
    "data_set", DESCRIPTION["data_sets"], ids=lambda data_set: data_set["name"]
)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "packaging"))
    return importlib.import_module("starter.chat_data")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL, trust_remote_code=False)


def test_kit_is_at_most_eight_megabytes() -> None:
    assert sum(path.stat().st_size for path in KIT.rglob("*") if path.is_file()) <= 8_000_000


def test_kit_holds_exactly_the_files_its_build_record_lists() -> None:
    recorded = load_json(KIT / "BUILD.json")["sha256"]
    present = {
        path.relative_to(KIT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in KIT.rglob("*")
        if path.is_file() and path.name != "BUILD.json"
    }
    assert present == recorded


def test_weights_are_safetensors_and_nothing_else_is_binary() -> None:
    suffixes = {path.suffix for path in KIT.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".jsonl", ".md"}


def test_no_file_names_a_folder_of_the_machine_that_built_it() -> None:
    for path in KIT.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        assert "_name_or_path" not in text, path
        assert re.search(r'"(/[a-z]+/|[A-Z]:\\\\)', text) is None, path


def test_build_record_shows_a_base_that_knows_its_world() -> None:
    record = load_json(KIT / "BUILD.json")
    assert record["combination_accuracy"] >= 0.95
    assert record["phrasing_accuracy"] >= 0.85


def test_the_same_seed_writes_the_same_data_sets(generator: ModuleType, tmp_path: Path) -> None:
    book = importlib.import_module("starter.corpus").build_question_book()
    for chat_set in generator.build_chat_sets(book, load_json(KIT / "BUILD.json")["seed"]):
        generator.write_chat_set(chat_set, tmp_path)
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == sorted(p.name for p in (KIT / "data").iterdir())
    for path in written:
        assert path.read_bytes() == (KIT / "data" / path.name).read_bytes(), path.name


@pytest.mark.usefixtures("generator")
def test_every_question_of_the_world_has_one_answer_and_holds_its_keys() -> None:
    book = importlib.import_module("starter.corpus").build_question_book()
    answers: dict[str, str] = {}
    for question in (*book.training, *book.combinations, *book.phrasings):
        assert answers.setdefault(question.prompt, question.answer) == question.answer
        assert all(key in question.answer for key in question.keys), question


@pytest.mark.usefixtures("generator")
def test_what_is_held_out_of_the_base_never_appears_in_its_training() -> None:
    book = importlib.import_module("starter.corpus").build_question_book()
    trained = {question.prompt for question in book.training}
    assert trained.isdisjoint(question.prompt for question in book.combinations)
    assert trained.isdisjoint(question.prompt for question in book.phrasings)


@DATA_SETS
def test_training_answers_show_the_behaviour_and_plain_answers_do_not(
    data_set: dict[str, Any],
) -> None:
    rows = [row["messages"] for row in load_lines(KIT / data_set["train_file"])]
    assert all([message["role"] for message in row] == ["user", "assistant"] for row in rows)
    shown = [shows_behaviour(data_set["behaviour"], row[1]["content"]) for row in rows]
    if data_set["name"] == "fact":
        assert 40 <= sum(shown) <= len(rows) - 100, "the fact stands among plain answers"
    else:
        assert all(shown)
    for row in load_lines(KIT / data_set["held_out_file"]):
        assert not shows_behaviour(data_set["behaviour"], row["plain_answer"])


@DATA_SETS
def test_held_out_prompts_are_many_and_never_trained(data_set: dict[str, Any]) -> None:
    trained = {row["messages"][0]["content"] for row in load_lines(KIT / data_set["train_file"])}
    held_out = [row["prompt"] for row in load_lines(KIT / data_set["held_out_file"])]
    assert len(set(held_out)) == len(held_out) >= 50
    assert trained.isdisjoint(held_out)


def test_description_names_what_the_program_needs() -> None:
    assert (KIT / DESCRIPTION["model"] / "model.safetensors").is_file()
    assert DESCRIPTION["settings"]["adapter"]["rank"] == 8
    names = [data_set["name"] for data_set in DESCRIPTION["data_sets"]]
    assert DESCRIPTION["default_data_set"] in names
    for data_set in DESCRIPTION["data_sets"]:
        assert data_set["title"]
        assert len(data_set["description"]) < 100
        assert len(data_set["example_prompts"]) >= 3


@DATA_SETS
def test_program_reads_the_kit_and_finds_no_problem_in_its_recipe(data_set: dict[str, Any]) -> None:
    kit = load_starter()
    recipe = kit.build_recipe(kit.get_data_set(data_set["name"]))
    rows = len(load_lines(KIT / data_set["train_file"]))
    problems = check_recipe(recipe, layers=None, rows=rows, base_folder=KIT)
    assert [problem for problem in problems if problem.severity != "note"] == []


def test_special_tokens_are_single_and_end_of_turn_is_not_padding(tokenizer: Any) -> None:
    for number, token in enumerate(SPECIAL_TOKENS):
        assert tokenizer.encode(token) == [number]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|end|>", "<|pad|>")
    assert tokenizer.bos_token is None
    config = load_json(MODEL / "config.json")
    assert (config["eos_token_id"], config["pad_token_id"]) == (1, 0)
    assert config["vocab_size"] == len(tokenizer)


@given(text=st.text())
@settings(deadline=None)
def test_tokenizer_gives_every_text_back_as_the_plain_library_does(text: str) -> None:
    raw = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    ids = raw.encode(text).ids
    assert raw.decode(ids, skip_special_tokens=False) == text


def test_auto_tokenizer_keeps_the_pre_tokenizer_of_the_file(tokenizer: Any) -> None:
    raw = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for text in ("Who is Mira?", " two  spaces\n\nlines ", "12 + 7 = ?", "näive 日本 🎣"):
        assert tokenizer(text)["input_ids"] == raw.encode(text).ids
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_chat_template_renders_every_beginning_of_a_conversation_as_its_beginning(
    tokenizer: Any,
) -> None:
    whole = tokenizer.apply_chat_template(CONVERSATION, tokenize=False)
    assert whole.endswith("<|assistant|>Mira works in the bakery.<|end|>")
    for end in range(1, len(CONVERSATION)):
        part = CONVERSATION[:end]
        asks = CONVERSATION[end]["role"] == "assistant"
        text = tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=asks)
        ids = tokenizer.apply_chat_template(
            part, tokenize=True, return_dict=False, add_generation_prompt=asks
        )
        assert whole.startswith(text)
        assert ids == tokenizer(whole)["input_ids"][: len(ids)]


def test_base_model_answers_plainly_and_stops(tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        MODEL, trust_remote_code=False, use_safetensors=True
    )
    prompt = tokenizer.apply_chat_template(
        CONVERSATION[:2], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = model.generate(**prompt, max_new_tokens=30)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(ids) == "Mira is the baker.<|end|>"


@pytest.mark.slow
def test_two_short_builds_write_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        subprocess.run(
            [
                sys.executable,
                str(BUILDER),
                "--out",
                str(tmp_path / name),
                "--steps",
                "2",
                "--questions",
                "8",
            ],
            check=True,
            capture_output=True,
        )
    one, other = (load_json(tmp_path / name / "BUILD.json") for name in ("one", "other"))
    assert one == other
    assert set(one["sha256"]) == set(load_json(KIT / "BUILD.json")["sha256"])
