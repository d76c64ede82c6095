"""Base and adapters answer the same prompt, side by side."""
