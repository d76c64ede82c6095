"""The model card of an export: README.md with the hub's YAML header, made from recorded facts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from studio import __version__
from studio.core.files import write_atomically
from studio.core.recipe.save import dump_recipe
from studio.core.recipe.schema import Recipe
from studio.core.units import format_duration
from studio.engine.export.card_facts import CARD_NAME, HUB_NAME, CardFacts
from studio.engine.export.certificate import CERTIFICATE_NAME, Certificate

_TASK = {"type": "text-generation", "name": "Text generation"}
_LARGEST_LOSS = 50.0
_LIBRARIES = {"adapter": "peft", "merged": "transformers"}
_RELATIONS = {"adapter": "adapter", "gguf_lora": "adapter", "merged": "finetune"}


def write_card(facts: CardFacts, folder: Path) -> Path:
    """Writes the card beside the exported files in ``folder``; returns its path.

    Raises:
        FileUnusable: The folder cannot be written to.
    """
    path = folder / CARD_NAME
    write_atomically(path, build_card(facts))
    return path


def build_card(facts: CardFacts) -> str:
    """Returns the whole text; no path of this machine is in it."""
    parts = [
        f"---\n{yaml.safe_dump(build_header(facts), sort_keys=False, allow_unicode=True)}---",
        f"# {_plain(facts.order.name)}",
        _describe(facts),
        "## How to use it\n\n" + _fence(build_usage(facts), "python" if _is_python(facts) else ""),
        *_describe_training(facts),
        _describe_proof(facts.certificate),
        f"## Licence\n\n{_describe_licence(facts)}",
        f"Written by LoRA Studio {__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def build_header(facts: CardFacts) -> dict[str, Any]:
    """Returns the fields of the hub's YAML header."""
    target = facts.order.target
    header: dict[str, Any] = {}
    if facts.hub_base:
        header["base_model"] = facts.hub_base
        header["base_model_relation"] = _RELATIONS.get(target, "quantized")
    header["library_name"] = _LIBRARIES.get(target, "gguf")
    header.update(facts.licence)
    header["pipeline_tag"] = "text-generation"
    header["tags"] = ["lora", "lora-studio", target.replace("_", "-")]
    datasets = [
        source.source
        for source in (facts.recipe.data.train if facts.recipe else ())
        if HUB_NAME.match(source.source) and not Path(source.source).suffix
    ]
    if datasets:
        header["datasets"] = datasets
    results = _list_results(facts, datasets)
    if results:
        header["model-index"] = [{"name": facts.order.name, "results": results}]
    return header


def _list_results(facts: CardFacts, datasets: Sequence[str]) -> list[dict[str, Any]]:
    """Returns what was measured, in the hub's form: on held-out rows, and by the certificate."""
    results = []
    loss = None if facts.record is None else facts.record.best_validation_loss
    if loss is not None:
        rows = {
            "name": "held-out rows of the training data",
            "type": datasets[0] if len(datasets) == 1 else "custom",
            "split": "validation",
        }
        metrics = [_measure("loss", "Loss", loss)]
        if loss < _LARGEST_LOSS:
            metrics.append(_measure("perplexity", "Perplexity", math.exp(loss)))
        results.append({"task": _TASK, "dataset": rows, "metrics": metrics})
    proof = facts.certificate
    if proof.verdicts:
        prompts = {"name": f"prompts of the certificate ({proof.prompts or 'own'})",
                   "type": "custom"}  # fmt: skip
        metrics = [
            _measure("accuracy", "Tokens equal to base and adapter", proof.equal_fraction),
            _measure("kl_divergence", "Divergence per token, nats", proof.mean_divergence),
        ]
        results.append({"task": _TASK, "dataset": prompts, "metrics": metrics})
    return results


def _measure(kind: str, name: str, value: float) -> dict[str, Any]:
    shown = round(value, 6) if math.isfinite(value) else str(value)
    return {"type": kind, "name": name, "value": shown}


def build_usage(facts: CardFacts) -> str:
    """Returns what loads the export."""
    base = facts.hub_base or "PATH/OF/THE/BASE"
    gguf = next((name for name in facts.files if name.endswith(".gguf")), "model.gguf")
    if facts.order.target == "adapter" and facts.keeps_zeros:
        return (
            "# PEFT would change the zeros of the pruned base and answer differently.\n"
            f"lora-studio generate --base {base} --adapter PATH/OF/THIS/FOLDER --prompt 'Hello'"
        )
    if facts.order.target == "adapter":
        return (
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"base = AutoModelForCausalLM.from_pretrained({base!r})\n"
            f"tokenizer = AutoTokenizer.from_pretrained({base!r})\n"
            "model = PeftModel.from_pretrained(base, 'PATH/OF/THIS/FOLDER')"
        )
    if facts.order.target == "merged":
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            "model = AutoModelForCausalLM.from_pretrained('PATH/OF/THIS/FOLDER')\n"
            "tokenizer = AutoTokenizer.from_pretrained('PATH/OF/THIS/FOLDER')"
        )
    if facts.order.target == "ollama":
        return f"ollama create {facts.order.name.lower()} -f Modelfile"
    if facts.order.target == "gguf_lora":
        return f"llama-cli -m BASE.gguf --lora {gguf} -cnv"
    return f"llama-cli -m {gguf} -cnv"


def _describe(facts: CardFacts) -> str:
    kinds = {
        "adapter": "A LoRA adapter for",
        "gguf_lora": "A LoRA adapter (GGUF, for llama.cpp) for",
        "merged": "A fine-tuned version, merged from a LoRA adapter, of",
        "gguf": "A fine-tuned version in the GGUF format of",
        "ollama": "A fine-tuned version for Ollama of",
    }
    base = f"`{_plain(facts.base)}`"
    if facts.hub_base:
        base = f"[{facts.hub_base}](https://huggingface.co/{facts.hub_base})"
    return f"{kinds.get(facts.order.target, 'A fine-tuned version of')} {base}."


def _describe_training(facts: CardFacts) -> list[str]:
    parts = []
    record = facts.record
    if record is not None and record.step:
        rows = {
            "Steps": f"{record.step:,}",
            "Epochs": f"{record.epoch:.2f}",
            "Loss at the start": _number(record.first_loss),
            "Loss at the end": _number(record.last_loss),
            "Best loss on held-out rows": _number(record.best_validation_loss),
            "Training rows": "" if record.data is None else f"{record.data.train_rows:,}",
            "Held-out rows": "" if record.data is None else f"{record.data.validation_rows:,}",
            "Time": format_duration(record.trained_seconds or None),
        }
        lines = [f"| {name} | {value} |" for name, value in rows.items() if value]
        parts.append("## Results\n\n| | |\n|---|---|\n" + "\n".join(lines))
    if facts.recipe is not None:
        names = ", ".join(f"`{_plain(one.source)}`" for one in _hide_paths(facts.recipe).data.train)
        recipe = dump_recipe(_hide_paths(facts.recipe)).strip()
        parts.append(f"## Data\n\n{names}")
        parts.append(f"## Recipe\n\n{_fence(recipe, 'yaml')}")
    return parts


def _describe_proof(certificate: Certificate) -> str:
    if certificate.is_verified:
        words = (
            f"These files were loaded again ({certificate.engine}) and compared with base and "
            f"adapter on {len(certificate.verdicts)} prompts ({certificate.prompts}): "
            f"{certificate.equal_fraction:.1%} of the tokens are the same, and the mean difference "
            f"of the predictions is {certificate.mean_divergence:.2g} nats per token (number "
            f"format {certificate.format})."
        )
    else:
        words = "**Not verified.** " + "; ".join(map(_plain, certificate.reasons)) + "."
    return f"## Certificate\n\n{words} Details and hashes: `{CERTIFICATE_NAME}`."


def _describe_licence(facts: CardFacts) -> str:
    name = facts.licence.get("license_name") or facts.licence.get("license")
    if name is None:
        return (
            "The base model does not say under which licence it stands. Find out before you pass "
            "this on."
        )
    return (
        f"The base model stands under `{_plain(name)}`, and so does what was made from it, unless "
        "that licence says otherwise. The data may have terms of its own."
    )


def _hide_paths(recipe: Recipe) -> Recipe:
    """Returns the recipe with the names of files and folders instead of their places."""

    def shorten(text: str) -> str:
        is_path = "\\" in text or text.startswith(("/", "~", ".")) or text.count("/") > 1
        return (
            re.split(r"[/\\]", text.rstrip("/\\"))[-1] if is_path or Path(text).exists() else text
        )

    content = recipe.model_dump(mode="json")
    content["base"]["model"] = shorten(content["base"]["model"])
    for key in ("train", "validation"):
        sources = content["data"][key]
        for source in sources if isinstance(sources, list) else []:
            source["source"] = shorten(source["source"])
    content["data"]["template"] = shorten(content["data"]["template"])
    if content["adapter"]["resume_from"]:
        content["adapter"]["resume_from"] = shorten(content["adapter"]["resume_from"])
    return Recipe.model_validate(content)


def _is_python(facts: CardFacts) -> bool:
    return facts.order.target in ("adapter", "merged")


def _fence(text: str, language: str) -> str:
    """Returns a block of code that no text inside it can end."""
    ticks = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _plain(text: str) -> str:
    """Returns foreign text without the signs that mean something in Markdown or HTML."""
    return re.sub(r"[`<>\[\]|*\n\r]", " ", text).strip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
