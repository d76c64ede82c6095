"""The ring everybody may import: recipes, events, runs, jobs; no torch, no Qt."""
