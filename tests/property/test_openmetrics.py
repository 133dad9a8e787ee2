"""Whatever the figures are called and however large they are, they are OpenMetrics text by its own rules."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from aico_sched.histogram import Histogram
from aico_sched.metrics import PREFIX, render

NAMES = st.text(max_size=20)
"""Of errors, environments and caches: outside code has a say in them."""
COUNTS = st.dictionaries(NAMES, st.integers(0, 2**53) | st.floats(0, 1e300), max_size=5)
DELAYS = st.lists(st.floats(0, 1e9), max_size=20)
TOTALS = {"attempts", "failures", "execution_events", "cache_hits", "attempts_abandoned", "attempt_seconds"}


@settings(deadline=None)
@given(COUNTS, COUNTS, NAMES, DELAYS)
def test_the_text_keeps_the_rules(
    failures: dict[str, float], figures: dict[str, float], name: str, delays: list[float]
) -> None:
    lateness = Histogram()
    for delay in delays:
        lateness.add(delay)
    executor = {
        "succeeded": 1, "abandoned": 2, "seconds_total": 1.5, "failures": failures, "environments": {name: figures}
    }  # fmt: skip
    stats = {
        "uptime_seconds": 1.0,
        "totals": {"succeeded": 1},
        "actors": {"executor": executor, "scheduler": {"lateness": lateness.report(), "breaker": "open"}},
        "caches": {name: {"size": 1, "hits": 2, "misses": 3}},
        "host": {"cpu_percent": 1.0},
    }
    text = render(stats, {"status": "healthy", "live": True, "ready": True, "version": name}).decode()
    assert text.endswith("\n# EOF\n") and len(re.findall("^# EOF$", text, re.MULTILINE)) == 1
    families = list(parsed(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.startswith(PREFIX) and family.documentation
        assert family.type != "unknown"
        assert not family.unit or family.name.endswith(f"_{family.unit}")
        assert family.type != "counter" or all(sample.name == f"{family.name}_total" for sample in family.samples)
    counters = {family.name.removeprefix(PREFIX) for family in families if family.type == "counter"}
    assert counters >= TOTALS - (set() if failures else {"failures"})
    (lates,) = (family for family in families if family.name == f"{PREFIX}start_lateness_seconds")
    assert lates.type == "histogram"
    reached = {sample.labels.get("le"): sample.value for sample in lates.samples if sample.name.endswith("_bucket")}
    assert reached["+Inf"] == len(delays)
    said = [family for family in families if family.name == f"{PREFIX}environment"]
    found = {sample.labels["figure"]: sample.value for family in said for sample in family.samples}
    assert found == figures
