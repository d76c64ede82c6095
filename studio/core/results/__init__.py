"""Evaluations that are kept: what was measured, where it lies, and how it is handed on."""
