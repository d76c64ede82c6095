"""GGUF files for llama.cpp and what builds on it, written without llama.cpp."""
