"""One editor per kind of setting; each shows a value, and says when the user changed it."""
