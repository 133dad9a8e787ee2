"""How many processors this process may use: its affinity, and the CPU limit of its container."""

import math
import os
from pathlib import Path

PROC_CGROUP = Path("/proc/self/cgroup")
CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = CGROUP, membership: Path = PROC_CGROUP) -> int:
    """Whole processors, at least 1. A limit of half a processor counts as one, of one and a half as two."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [limit for folder in groups(cgroup, membership) if (limit := cpu_limit(folder)) is not None]
    return max(1, min(affinity, *(math.ceil(limit) for limit in limits))) if limits else max(1, affinity)


def groups(cgroup: Path, membership: Path) -> list[Path]:
    """The group of this process and every group above it: the tightest of their limits counts. Inside a container
    the mounted root is the container's own group."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = next((line.partition("::")[2] for line in lines if line.startswith("0::")), "/")
    parts = [part for part in own.split("/") if part and part != ".."]
    return [cgroup / "/".join(parts[:count]) for count in range(len(parts) + 1)] + [cgroup / "cpu"]


def cpu_limit(folder: Path) -> float | None:
    """Processors by `cpu.max` (cgroup v2), or by `cpu.cfs_quota_us` (v1); None where there is no limit."""
    try:
        quota, _, period = (folder / "cpu.max").read_text().partition(" ")
    except OSError:
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        limit = int(quota) / int(period or 100_000)
    except (ValueError, ZeroDivisionError):
        return None
    return limit if limit > 0 else None
