"""Helpers shared by tests of several folders; imported as `tests.support`, pytest being run as `python -m pytest`."""
