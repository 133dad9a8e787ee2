"""OpenMetrics text, read by prometheus_client's own parser."""

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from aico_sched.histogram import Histogram
from aico_sched.metrics import CONTENT_TYPE, render


def samples(text: bytes) -> dict[str, Any]:
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in parsed(text.decode())
        for sample in family.samples
    }


HEALTH = {
    "status": "degraded",
    "live": True,
    "ready": False,
    "reasons": ["x"],
    "checks": {"actors": {"ok": False}, "loop": {"ok": True}},
    "version": "1.2.3",
}


def stats() -> dict[str, Any]:
    lateness = Histogram()
    for milliseconds in (1, 4, 9_999_999):
        lateness.add(milliseconds)
    return {
        "uptime_seconds": 12.5,
        "actors": {
            "executor": {
                "succeeded": 4, "failed": 1, "running": 2, "abandoned": 3, "limit": 10, "busy_s": 0.25,
                "seconds_total": 1.5,
                "failures": {'odd "name"\n\\': 1}, "environments": {"thread": {"busy": 3, "kind": "pool"}},
            },
            "scheduler": {"ready": 7, "breaker": "half_open", "breaker_opened": 2, "lateness": lateness.report()},
            "store": {"commands": 9, "statuses": {"queued": 2}},
            "health": {"incidents": {"cpu": 3}},
        },
        "executions": {},
        "recent": {},
        "totals": {"succeeded": 1_000, "missed": 5},
        "peaks": {},
        "caches": {"patterns": {"size": 3, "hits": 8, "misses": 2}},
        "host": {"cpu_percent": 50.0, "memory_percent": 25.0},
    }  # fmt: skip


def test_the_figures_are_what_stats_and_health_say() -> None:
    text = render(stats(), HEALTH)
    assert text.endswith(b"# EOF\n")
    assert "openmetrics" in CONTENT_TYPE
    found = samples(text)
    expected = {
        "aico_sched_service_info,version=1.2.3": 1,
        "aico_sched_health,aico_sched_health=degraded": 1,
        "aico_sched_health,aico_sched_health=healthy": 0,
        "aico_sched_up,probe=live": 1,
        "aico_sched_up,probe=ready": 0,
        "aico_sched_check,check=actors": 0,
        "aico_sched_uptime_seconds": 12.5,
        "aico_sched_attempts_total,outcome=succeeded": 4,
        'aico_sched_failures_total,error=odd "name"\n\\': 1,
        "aico_sched_attempt_seconds_total": 1.5,
        "aico_sched_execution_events_total,event=succeeded": 1_000,
        "aico_sched_executions_open,status=queued": 2,
        "aico_sched_actor_busy_seconds_total,actor=executor": 0.25,
        "aico_sched_commands_total": 9,
        "aico_sched_attempts_abandoned_total": 3,
        "aico_sched_breaker_opened_total": 2,
        "aico_sched_breaker,aico_sched_breaker=half_open": 1,
        "aico_sched_breaker,aico_sched_breaker=open": 0,
        "aico_sched_queue_depth": 7,
        "aico_sched_start_lateness_seconds_count": 3,
        "aico_sched_start_lateness_seconds_bucket,le=0.005": 2,
        "aico_sched_start_lateness_seconds_bucket,le=+Inf": 3,
        "aico_sched_host_load_ratio,resource=cpu": 0.5,
        "aico_sched_resource_incidents_total,resource=cpu": 3,
        "aico_sched_environment,environment=thread,figure=busy": 3,
        "aico_sched_cache_hits_total,cache=patterns": 8,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_what_did_not_answer_is_left_out() -> None:
    found = samples(render({"actors": {}}, {"status": "critical", "live": True, "ready": False}))
    assert found["aico_sched_health,aico_sched_health=critical"] == 1
    assert not any("attempts" in name or "queue" in name for name in found)
    assert samples(render({}, {}))
