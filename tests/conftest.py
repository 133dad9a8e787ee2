"""Properties are about what is true, not about how fast this machine finds it out."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.disturbed"]

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
