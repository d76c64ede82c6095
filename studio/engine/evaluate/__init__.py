"""Measuring base and adapters on the same rows, with the uncertainty of every number."""
