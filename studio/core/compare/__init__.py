"""What comparing answers needs without any model: prompt sets, history, votes, ranks."""
