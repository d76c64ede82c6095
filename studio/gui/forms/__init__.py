"""The recipe as a form: the draft being edited, and editors drawn from the recipe's schema."""
