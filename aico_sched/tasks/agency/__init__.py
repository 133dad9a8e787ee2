"""Tasks that learn from what the user and the scheduler do."""
