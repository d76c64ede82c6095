"""Passive building blocks of the pages; they know nothing of recipes, runs or models."""
