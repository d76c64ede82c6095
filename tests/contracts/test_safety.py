"""Nothing foreign is executed: no pickles, no code from models, no shell, no stray output."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.contracts.source import ROOT, SourceFile, load_sources

_UNSAFE_CALLS = {
    "pickle.load", "pickle.loads", "torch.load", "marshal.loads", "shelve.open", "eval", "exec",
    "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "joblib.load",
}  # fmt: skip
_FORBIDDEN_WORDS = {"utils", "helpers", "common", "misc"}
_FORBIDDEN_CLASS = re.compile(r"(Manager|Handler|Helper|Info|Data)$")
_FORBIDDEN_FUNCTION = re.compile(r"_*(do|process)_(?!id$)")
# A class that has such a name all the same -> why. May only shrink.
_ALLOWED_CLASSES = {"PreparedData": "the data of a run, prepared: here the word is the thing"}
_TOP_LEVEL = {
    "pyproject.toml", "README.md", "LICENSE", "resources", "packaging", "tests", "studio",
    "build", "dist", "lora_studio.egg-info",
}  # fmt: skip
_PACKAGE = load_sources("studio", "packaging")


def _get_keyword(call: ast.Call, name: str) -> str | None:
    """Return the source of a call's keyword argument."""
    values = (keyword.value for keyword in call.keywords if keyword.arg == name)
    return next((ast.unparse(value) for value in values), None)


def _spreads(call: ast.Call) -> bool:
    """Return whether the call passes ``**options``, whose text is searched instead."""
    return any(keyword.arg is None for keyword in call.keywords)


def _iter_unsafe_calls(file: SourceFile) -> Iterator[str]:
    for name, call in file.iter_calls():
        place = f"{file.path}:{call.lineno} {name}"
        if name in _UNSAFE_CALLS:
            yield place
        if _get_keyword(call, "shell") not in (None, "False"):
            yield f"{place} shell"
        trust = _get_keyword(call, "trust_remote_code")
        is_told = trust is not None or _spreads(call)
        if trust not in (None, "False") or (name.endswith(".from_pretrained") and not is_told):
            yield f"{place} trust_remote_code"


def test_nothing_that_could_run_foreign_code_is_called() -> None:
    assert [place for file in _PACKAGE for place in _iter_unsafe_calls(file)] == []


def test_remote_code_is_never_switched_on() -> None:
    switched = re.compile(r"trust_remote_code[\"']?\s*[:=]\s*True")
    assert [file.path for file in _PACKAGE if switched.search(file.text)] == []


def test_model_weights_are_only_taken_from_safetensors() -> None:
    loaders = re.compile(r"AutoModel\w*\.from_pretrained$")
    for file in _PACKAGE:
        for name, call in file.iter_calls():
            if loaders.search(name):
                is_spread = _spreads(call) and '"use_safetensors": True' in file.text
                chosen = _get_keyword(call, "use_safetensors")
                assert is_spread or chosen == "True", f"{file.path}:{call.lineno}"


def test_names_say_what_a_thing_is() -> None:
    found = []
    for file in _PACKAGE:
        found += set(file.path.removesuffix(".py").split("/")) & _FORBIDDEN_WORDS
        found += [c.name for c in file.iter_classes() if _FORBIDDEN_CLASS.search(c.name)]
        found += [f.name for f in file.iter_functions() if _FORBIDDEN_FUNCTION.match(f.name)]
    assert sorted(found) == sorted(_ALLOWED_CLASSES)


def test_every_module_opens_with_one_sentence() -> None:
    for file in _PACKAGE:
        words = ast.get_docstring(file.tree)
        assert words, file.path
        assert words.split("\n")[0].endswith("."), file.path


def test_the_top_level_holds_only_what_belongs_there() -> None:
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - _TOP_LEVEL <= {"screenshots", "htmlcov"}
    for name in ("pyproject.toml", "README.md", "LICENSE", ".ci/run", "packaging/CHANGELOG.md"):
        assert (ROOT / name).is_file(), name
