"""Does the base's knowledge survive under an adapter."""
