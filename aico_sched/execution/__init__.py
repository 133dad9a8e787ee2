"""Running tasks: one attempt, the states of an execution, retry."""
