"""Other programs on this machine that load what was exported: Ollama and LM Studio."""
