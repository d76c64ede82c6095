"""Correcting rows of the data: fields, the row that comes of them, and the copy."""
