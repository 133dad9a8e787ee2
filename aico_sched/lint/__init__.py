"""Finds task code that would hold up the event loop, by reading it: the rules as a flake8 plugin, and a report."""
