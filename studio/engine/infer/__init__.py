"""Inference: tokens one after the other, text as it grows, sessions that stay loaded."""
