"""What the machine is doing: CPU and memory, of the container where it has limits of its own."""

from pathlib import Path
from typing import NamedTuple, Protocol

import psutil


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
    """Samples through psutil, and cgroup v2 for a container's memory limit: psutil itself shows the host's."""

    def __init__(self, cgroup: Path = Path("/sys/fs/cgroup")) -> None:
        self._cgroup = cgroup
        # The first call has nothing to compare with and would say 0 (facts.md).
        psutil.cpu_percent(interval=None)

    def sample(self) -> HostSample:
        return HostSample(
            psutil.cpu_percent(interval=None),
            max(psutil.virtual_memory().percent, self._container_memory()),
            _on_battery(),
        )

    def _container_memory(self) -> float:
        """Used share of the container's memory limit, 0 where there is none."""
        try:
            limit = (self._cgroup / "memory.max").read_text().strip()
            used = int((self._cgroup / "memory.current").read_text())
            # The page cache counts as used, but the kernel gives it up before it would refuse anything.
            used -= self._cached()
        except (OSError, ValueError):
            return 0.0
        if not limit.isdecimal() or int(limit) == 0:
            return 0.0
        return min(100.0, max(0.0, 100.0 * used / int(limit)))

    def _cached(self) -> int:
        for line in (self._cgroup / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "inactive_file":
                return int(value)
        return 0


def _on_battery() -> bool:
    """Whether the machine certainly runs on its battery; psutil says None where it cannot tell."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False
