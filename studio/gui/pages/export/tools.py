"""The programs that an adapter can be exported for, and the kinds of files that each takes."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.jobs.orders import ExportTarget


@dataclass(frozen=True)
class Form:
    """One kind of file that a tool takes; ``help`` says what it means to choose it."""

    target: ExportTarget
    words: str
    help: str


@dataclass(frozen=True)
class Tool:
    """One card. ``needs`` says what must be there to use the files, ``checked_as`` who checks."""

    key: str
    title: str
    sentence: str
    needs: str
    forms: tuple[Form, ...]
    checked_as: str = ""


_ADAPTER = Form("adapter", "Adapter", "Small: the trained part alone, used beside its base model.")
_MERGED = Form("merged", "Merged model", "As large as the base. One folder, nothing else needed.")
_GGUF = Form("gguf", "Whole model", "One GGUF file with base and adapter in it.")
_GGUF_LORA = Form("gguf_lora", "Adapter", "Small: used beside a GGUF file of the same base.")

TOOLS = (
    Tool(
        "peft",
        "Transformers, PEFT",
        "In your own Python programs.",
        "Needs Python with transformers and peft, and the base model beside the adapter.",
        (_ADAPTER,),
        "peft",
    ),
    Tool(
        "ollama",
        "Ollama",
        "Chat on this computer, with one command.",
        "Needs Ollama. The model can be made in it right after the export.",
        (
            Form(
                "ollama", "GGUF and Modelfile", "With the chat template and stops of the training."
            ),
        ),
        "ollama",
    ),
    Tool(
        "lm_studio",
        "LM Studio",
        "Chat in a window of its own.",
        "Needs LM Studio. The file can be put into its folder right after the export.",
        (_GGUF,),
        "lm_studio",
    ),
    Tool(
        "llama_cpp",
        "llama.cpp",
        "Small and fast, on nearly any machine.",
        "Needs llama.cpp (llama-cli, llama-server) or a program that is built on it.",
        (_GGUF, _GGUF_LORA),
        "llama.cpp",
    ),
    Tool(
        "vllm",
        "vLLM",
        "Serve many users from a graphics card.",
        "Needs vLLM on a machine with a graphics card.",
        (_ADAPTER, _MERGED),
        "vllm",
    ),
    Tool(
        "merged",
        "Merged model",
        "One safetensors folder for every other tool.",
        "Needs nothing of this program: whatever loads models of the hub loads this.",
        (_MERGED,),
    ),
    Tool(
        "hub",
        "Hugging Face Hub",
        "Keep it online or share it.",
        "Needs an account and an access token. Nothing is uploaded before you agree to it.",
        (_ADAPTER, _MERGED, Form("gguf", "GGUF", _GGUF.help)),
    ),
    Tool(
        "capsule",
        "Capsule",
        "The whole run in one file, to pass on or train again.",
        "Needs another LoRA Studio: Runs, Import. Hashes of all parts are compared there.",
        (Form("capsule", "Capsule", "Recipe, results, hashes and adapter."),),
    ),
)


def get_tool(key: str) -> Tool:
    """Returns the tool of that name, the first one for names that are not known."""
    return next((tool for tool in TOOLS if tool.key == key), TOOLS[0])


def find_tool(target: ExportTarget) -> Tool:
    """Returns the first tool that takes files of this kind."""
    return next(tool for tool in TOOLS if any(form.target == target for form in tool.forms))
