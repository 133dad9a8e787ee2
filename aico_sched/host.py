"""What the machine is doing: CPU and memory, of the container where it has limits of its own."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil
import structlog

from aico_sched.cpus import CGROUP, PROC_CGROUP, cpu_limit, groups
from aico_sched.logs import described

log = structlog.get_logger(__name__)


class HostSample(NamedTuple):
    """Load at one moment; percentages from 0 to 100 of the whole machine, or of the container's share."""

    cpu_percent: float
    memory_percent: float
    on_battery: bool


class HostSampler(Protocol):
    """Where samples come from."""

    def sample(self) -> HostSample:
        """The load since the sample before; takes well under a millisecond."""


class PsutilSampler:
    """Samples through psutil, and cgroup v2 for the limits of a container, since psutil shows the host. Of the machine
    and each group of this process that has a limit, the one closest to its limit counts."""

    def __init__(
        self,
        cgroup: Path = CGROUP,
        membership: Path = PROC_CGROUP,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = groups(cgroup, membership)
        self._monotonic = monotonic
        self._battery_told = False
        self._used: dict[Path, tuple[float, float]] = {}
        # The first call has nothing to compare with and would say 0 (facts.md).
        psutil.cpu_percent(interval=None)
        for folder in self._groups:
            self._group_cpu(folder)

    def sample(self) -> HostSample:
        return HostSample(
            max(psutil.cpu_percent(interval=None), *(self._group_cpu(folder) for folder in self._groups)),
            max(psutil.virtual_memory().percent, *(_group_memory(folder) for folder in self._groups)),
            self._on_battery(),
        )

    def _on_battery(self) -> bool:
        """Whether the machine certainly runs on its battery; psutil says None where it cannot tell."""
        try:
            battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
        except Exception as error:
            # What drivers say differs widely, and a battery may be pulled while it is read.
            if not self._battery_told:
                log.warning("battery_cannot_be_read", **described(error))
            self._battery_told = True
            return False
        return battery is not None and battery.power_plugged is False

    def _group_cpu(self, folder: Path) -> float:
        """Used share of the group's CPU limit since the look before; 0 where there is none."""
        limit = cpu_limit(folder)
        used = None if limit is None else _number_in(folder / "cpu.stat", "usage_usec")
        if limit is None or used is None:
            return 0.0
        now = self._monotonic()
        before, at = self._used.get(folder, (float(used), now))
        self._used[folder] = (float(used), now)
        if now <= at:
            return 0.0
        return min(100.0, max(0.0, 100.0 * (used - before) / 1_000_000 / (now - at) / limit))


def _group_memory(folder: Path) -> float:
    """Used share of the group's memory limit; 0 where there is none."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return 0.0
    if not limit.isdecimal() or int(limit) == 0:
        return 0.0
    # The page cache counts as used, but the kernel gives it up before it would refuse anything.
    used -= _number_in(folder / "memory.stat", "inactive_file") or 0
    return min(100.0, max(0.0, 100.0 * used / int(limit)))


def _number_in(file: Path, wanted: str) -> int | None:
    """The number in the line of `file` that begins with `wanted`."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    values = (line.partition(" ")[2] for line in lines if line.startswith(f"{wanted} "))
    return next((int(value) for value in values if value.strip().isdecimal()), None)
