"""Runs on disk: where their files lie, what happened to them, and how they are found again."""
