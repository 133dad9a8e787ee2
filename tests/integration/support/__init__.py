"""What the integration tests share; imported as `tests.integration.support`, pytest being run as `python -m pytest`."""
