"""Base models: where they lie, how they are loaded, and what they can do with packed rows."""
