"""Model weights, known from their headers."""
