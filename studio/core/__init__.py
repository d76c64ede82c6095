"""The ring everybody may import: recipes, events, runs, jobs and arithmetic, without torch or Qt."""
