"""Pruned base models equal torch's own pruning, and stay sparse when an adapter is merged."""
