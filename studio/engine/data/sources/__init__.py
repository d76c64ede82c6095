"""Kinds of data files; one module each, its name is the key of the kind."""
