"""What comparing answers needs without any model: differences, prompt sets, history, votes."""
