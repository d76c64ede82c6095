"""A model is made in Ollama as its interface wants it, or the reason is told in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable, NetworkFailed, Offline, RecipeInvalid
from studio.core.network.fetch import FetchCancelled
from studio.core.network.gate import Gate
from studio.core.network.local_server import ServerSilent, clean_address
from studio.core.programs.exported import Sample, read_certificate, read_sample
from studio.core.programs.ollama import OllamaServer, check_name, find_address, read_modelfile
from tests.core.programs.fake_ollama import FakeOllama, serve_ollama

MODELFILE = '''FROM ./pirate-Q8_0.gguf
TEMPLATE """{{ if .System }}<s>{{ .System }}{{ end }}
PARAMETER is no line of its own here
"""
PARAMETER num_ctx 2048
PARAMETER stop "<|im_end|>"
PARAMETER stop "</s>\\n"
PARAMETER temperature 0.7
'''
SAMPLE = Sample("Hello?", "Ahoy there", 12, 3)


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with serve_ollama() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_export(tmp_path / "out")


def write_export(folder: Path, *, is_verified: bool = True) -> Path:
    """Writes what an export for Ollama leaves."""
    folder.mkdir()
    (folder / "pirate-Q8_0.gguf").write_bytes(b"GGUF" + bytes(3_000_000))
    (folder / "Modelfile").write_text(MODELFILE, encoding="utf-8")
    certificate = {"verified": is_verified, "sample": vars(SAMPLE)}
    (folder / "certificate.json").write_text(json.dumps(certificate), encoding="utf-8")
    return folder


def create(
    ollama: FakeOllama, folder: Path, name: str = "pirate", **options: bool
) -> tuple[str, list[tuple[str, int, int]]]:
    steps = OllamaServer(Gate(), ollama.url).create(name, folder, **options)
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def test_file_template_and_stops_arrive(ollama: FakeOllama, folder: Path) -> None:
    name, told = create(ollama, folder)
    content = (folder / "pirate-Q8_0.gguf").read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    made = ollama.models["pirate:latest"]
    assert name == "pirate:latest"
    assert ollama.blobs == {digest: content}
    assert made["files"] == {"pirate-Q8_0.gguf": digest}
    assert made["template"].startswith("{{ if .System }}<s>")
    stops = ["<|im_end|>", "</s>\n"]
    assert made["parameters"] == {"num_ctx": 2048, "stop": stops, "temperature": 0.7}
    assert ("Copying the file into Ollama", len(content), len(content)) in told
    assert told[-1][0] == "Ollama: success"


def test_a_file_that_is_there_is_not_sent_again(ollama: FakeOllama, folder: Path) -> None:
    create(ollama, folder)
    create(ollama, folder, "second")
    uploads = [line for line in ollama.requests if line.startswith("POST /api/blobs")]
    assert len(uploads) == 1
    assert set(ollama.models) == {"pirate:latest", "second:latest"}


def test_a_name_that_is_taken_is_only_replaced_on_wish(ollama: FakeOllama, folder: Path) -> None:
    create(ollama, folder)
    with pytest.raises(RecipeInvalid, match="has a model named Pirate:latest") as caught:
        create(ollama, folder, "Pirate")
    assert caught.value.code == "name_taken"
    create(ollama, folder, replaces=True)


@pytest.mark.parametrize("status", [200, 400])
def test_the_server_says_why_it_refuses(ollama: FakeOllama, folder: Path, status: int) -> None:
    ollama.refusal, ollama.refusal_status = "unsupported architecture 'x'", status
    with pytest.raises(NetworkFailed, match="unsupported architecture 'x'") as caught:
        create(ollama, folder)
    assert caught.value.code == "ollama_refused"
    assert ollama.models == {}


def test_without_a_server_the_remedy_is_to_start_it(folder: Path) -> None:
    with serve_ollama() as gone:
        pass
    with pytest.raises(ServerSilent, match="No Ollama server answers") as caught:
        create(gone, folder)
    assert "ollama serve" in caught.value.remedy


def test_a_cancelled_upload_makes_nothing(ollama: FakeOllama, folder: Path) -> None:
    server = OllamaServer(Gate(), ollama.url)
    with pytest.raises(FetchCancelled):
        list(server.create("pirate", folder, is_cancelled=lambda: True))
    assert (ollama.models, ollama.blobs) == ({}, {})


def test_one_question_is_asked_with_the_likeliest_tokens(ollama: FakeOllama, folder: Path) -> None:
    create(ollama, folder)
    spoken = OllamaServer(Gate(), ollama.url).ask_sample("pirate:latest", SAMPLE)
    (asked,) = ollama.asked
    assert asked["messages"] == [{"role": "user", "content": "Hello?"}]
    assert asked["options"] == {"temperature": 0, "seed": 0, "num_predict": 3}
    assert (spoken.text, spoken.read_tokens) == ("Ahoy there", 12)


def test_this_machine_is_asked_offline_and_no_other(ollama: FakeOllama) -> None:
    assert OllamaServer(Gate("option"), ollama.url).get_version() == "0.34.1"
    for address in ("192.168.1.7:11434", "127.0.0.1.evil.org", "https://ollama.example.com"):
        with pytest.raises(Offline, match="another machine"):
            OllamaServer(Gate("option"), address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        (" localhost:1234 ", "http://localhost:1234"),
        ("http://0.0.0.0:9", "http://127.0.0.1:9"),
        ("https://ollama.lan", "https://ollama.lan:443"),
        ("[::1]:5", "http://[::1]:5"),
    ],
)
def test_an_address_may_be_short(text: str, address: str) -> None:
    assert clean_address(text) == address


def test_the_setting_wins_over_the_environment() -> None:
    environment = {"OLLAMA_HOST": "0.0.0.0:8080"}
    assert find_address("", {}) == "http://127.0.0.1:11434"
    assert find_address("", environment) == "http://127.0.0.1:8080"
    assert find_address("box:99", environment) == "http://box:99"


@pytest.mark.parametrize("text", ["ftp://x", "http://", "a:b:c", "user:pw@host"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RecipeInvalid, match="no address"):
        clean_address(text)


@pytest.mark.parametrize("name", ["", "a b", "../x", "x:", "ä", "a/b/c", "-x"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(RecipeInvalid, match="no name"):
        check_name(name)


def test_a_modelfile_that_leaves_its_folder_is_refused(folder: Path) -> None:
    (folder / "Modelfile").write_text("FROM ../secret.gguf\n", encoding="utf-8")
    with pytest.raises(FileUnusable, match="no GGUF file beside it"):
        read_modelfile(folder)


def test_only_a_verified_export_is_given_away(tmp_path: Path) -> None:
    assert read_sample(read_certificate(write_export(tmp_path / "good"))) == SAMPLE
    with pytest.raises(FileUnusable, match="check failed"):
        read_certificate(write_export(tmp_path / "bad", is_verified=False))
    assert read_sample({"sample": {"later": 1}}) is None
