"""A Modelfile says what the training template said, or says that it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment

from studio.engine.data.conversation import Conversation, Turn
from studio.engine.export.certificate import Trial
from studio.engine.export.gguf.model import plan_gguf
from studio.engine.export.go_template import render_go_template
from studio.engine.export.ollama import (
    build_modelfile,
    export_ollama,
    find_go_template,
    find_modelfile_faults,
)
from studio.engine.infer.speech import build_speech
from studio.engine.models.files import load_config, load_tokenizer
from tests.engine.export.tiny_families import build_family

_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe good.<|im_end|>\n' }}"
    "{% endif %}" + _CHATML
)
_NUMBERED = (
    "{% for m in messages %}{{ loop.index }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
)
_NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}"
    "<t>{{ m['role'] }}\n{{ m['content'] | trim }}</t>\n{% endfor %}"
    "{% if add_generation_prompt %}<t>model\n{% endif %}"
)
_BRACES = _CHATML.replace("<|im_start|>", "{' ~ '{<|im_start|>")
_TURNS = [
    {"role": "system", "content": "Short."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "Three\nfour?"},
]


def _speak(base: Path, template: str | None) -> Any:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = template
    return build_speech(base, tokenizer, load_config(base), base_folder=base)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    build_family(folder, "llama")
    return folder


def _render(template: str, turns: list[dict[str, str]]) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(template).render(messages=turns, add_generation_prompt=True)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


@pytest.mark.parametrize("template", [_CHATML, _DEFAULT_SYSTEM], ids=["chatml", "own system"])
def test_a_proven_template_writes_what_jinja_writes(template: str, base: Path) -> None:
    source = find_go_template(_speak(base, template), has_bos=False)
    assert source is not None
    for turns in (_TURNS, _TURNS[1:], _TURNS[1:2], _TURNS[:2]):
        assert render_go_template(source, turns) == _render(template, turns)


def test_a_system_text_goes_into_the_question_where_training_put_it(base: Path) -> None:
    source = find_go_template(_speak(base, _NO_SYSTEM), has_bos=False)
    assert source is not None
    found = render_go_template(source, _TURNS[:2])
    assert found.startswith("<t>user\nShort.")
    assert found.endswith("One?</t>\n<t>model\n")


@pytest.mark.parametrize("template", [_NUMBERED, _BRACES], ids=["numbered", "braces"])
def test_what_cannot_be_proven_is_not_written(template: str, base: Path) -> None:
    speech = _speak(base, template)
    assert find_go_template(speech, has_bos=False) is None
    modelfile = build_modelfile(plan_gguf(base, None, "q8_0"), speech, base, name="tone")
    assert "TEMPLATE" not in modelfile.text.replace("# No TEMPLATE", "")
    assert "Ollama guesses" in modelfile.warning


@pytest.mark.material
@pytest.mark.parametrize(
    "name",
    ["chatml", "zephyr", "llama-3-instruct", "qwen2.5-instruct", "phi-3", "gemma-it", "vicuna"],
)
def test_templates_of_real_families_can_be_proven(name: str, base: Path, material: Path) -> None:
    template = (material / "templates" / "chujiezheng" / f"{name}.jinja").read_text()
    assert find_go_template(_speak(base, template), has_bos=False) is not None


def test_the_folder_holds_one_model_and_a_modelfile_with_stops(base: Path, tmp_path: Path) -> None:
    speech = _speak(base, load_tokenizer(base).chat_template)
    plan = plan_gguf(base, None, "q8_0")
    modelfile = build_modelfile(plan, speech, base, name="tone")
    steps = export_ollama(plan, modelfile, tmp_path / "out", name="tone")
    while next(steps, None) is not None:
        pass
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tone-Q8_0.gguf", "Modelfile"}
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert text.startswith('FROM ./tone-Q8_0.gguf\nTEMPLATE """{{ if .System }}<system>')
    assert 'PARAMETER stop "<end>"' in text
    assert "PARAMETER num_ctx 256" in text


@pytest.mark.parametrize("source", ["{{ if .System }}x", "{{ end }}", "{{ printf .System }}"])
def test_more_than_the_known_part_of_the_language_is_refused(source: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        render_go_template(source, _TURNS)


def test_a_modelfile_that_was_changed_is_found_out(base: Path, tmp_path: Path) -> None:
    speech = _speak(base, load_tokenizer(base).chat_template)
    modelfile = build_modelfile(plan_gguf(base, None, "q8_0"), speech, base, name="tone")
    text = speech.template.prompt(Conversation((Turn("user", "Hi"),)))
    trials = [Trial("Hi", text, (1, 2), 1, torch.zeros(1, 260), "Hi")]
    path = tmp_path / "Modelfile"
    path.write_text(modelfile.text)
    assert find_modelfile_faults(path, speech, trials) == []
    path.write_text(modelfile.text.replace("PARAMETER stop", "# stop"))
    assert "lacks the stop" in find_modelfile_faults(path, speech, trials)[0]
    path.write_text(modelfile.text.replace("<user>", "<human>"))
    assert "another text" in find_modelfile_faults(path, speech, trials)[0]
