"""How much memory and time a recipe will need, and what to change so that it fits."""
