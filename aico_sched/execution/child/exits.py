"""What the end of a child process means, in words: a pure function of how it ended and what it had used."""

import signal
from typing import NamedTuple

from aico_sched.execution.sandbox.policy import MEGABYTE, Limits


class Ended(NamedTuple):
    """How a process ended. `status` is its exit code, or minus the signal that killed it; `cpu_seconds` of all its
    threads and children, `peak_memory_mb` what it had in memory at most."""

    status: int
    cpu_seconds: float
    peak_memory_mb: float


class ChildError(Exception):
    """Base of the errors of a run whose process did not say how it ended. `permanent`: another attempt would end the
    same way. `output` is the end of what the process wrote."""

    permanent = False

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class CpuLimitExceeded(ChildError):
    """The run used up its processor time."""

    permanent = True


class MemoryLimitExceeded(ChildError):
    """The run asked for more memory than it may have."""

    permanent = True


class DiskLimitExceeded(ChildError):
    """The run wrote more than its folder may hold."""

    permanent = True


class KilledBySystem(ChildError):
    """The run's process was killed by somebody else: the kernel out of memory, or a person."""


class ProcessCrashed(ChildError):
    """The run's process ended without saying how the run had ended."""


class ProtocolBroken(ChildError):
    """The run's process sent what is no message."""

    permanent = True


class SandboxUnavailable(ChildError):
    """The run was not started because its sandbox could not be put in force."""


def explain(ended: Ended, limits: Limits, output: str) -> ChildError:
    """The error of a run whose process ended without a result, though nobody here ended it."""
    if ended.status >= 0:
        return ProcessCrashed(
            f"its process ended with exit code {ended.status} before the run had ended (os._exit?)", output
        )
    name = signal.Signals(-ended.status).name
    allowed = limits.cpu_seconds
    if allowed is not None and (ended.status == -signal.SIGXCPU or ended.cpu_seconds > allowed):
        return CpuLimitExceeded(
            f"it used up its {allowed} s of processor time (limits.cpu_seconds, sandbox.cpu_seconds)", output
        )
    if ended.status == -signal.SIGKILL:
        return KilledBySystem(
            "its process was killed from outside, most likely because the machine ran out of memory "
            f"(it had {ended.peak_memory_mb:.0f} MB)",
            output,
        )
    if ended.status == -signal.SIGSYS:
        return ProcessCrashed("its process made a system call of another architecture and was killed", output)
    return ProcessCrashed(f"its process crashed ({name}) with {ended.cpu_seconds:.1f} s of processor time used", output)


def explain_limit(limit: str, limits: Limits, disk_mb: int | None, message: str, output: str) -> ChildError:
    """The error of a run that says itself which limit it met."""
    if limit == "memory":
        room = "the machine has" if limits.memory_mb is None else f"{limits.memory_mb} MB"
        return MemoryLimitExceeded(
            f"it needed more memory than {room} (limits.memory_mb, sandbox.memory_mb): {message}", output
        )
    room = "the disk takes" if disk_mb is None else f"sandbox.disk_mb = {disk_mb} MB"
    return DiskLimitExceeded(f"it wrote a file of more than {room}: {message}", output)


def peak_megabytes(maxrss_kilobytes: int) -> float:
    """`ru_maxrss` of Linux in megabytes."""
    return maxrss_kilobytes * 1_024 / MEGABYTE
