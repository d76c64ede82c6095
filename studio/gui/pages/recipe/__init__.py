"""Recipe: every setting of a run, as a form."""
