"""What a child process may use and reach, and which of it the kernel enforced. Plain data, no input or output."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use; None where nothing is set. `memory_mb` is address space beyond the interpreter's own,
    `cpu_seconds` the time of all its threads together."""

    memory_mb: int | None = None
    cpu_seconds: int | None = None

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> "Limits":
        """The inverse of `pack`."""
        return cls(**packed)

    def pack(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def narrowed(self, other: "Limits") -> "Limits":
        """The stricter of both, limit by limit."""
        return Limits(_least(self.memory_mb, other.memory_mb), _least(self.cpu_seconds, other.cpu_seconds))


def _least(one: int | None, other: int | None) -> int | None:
    known = [each for each in (one, other) if each is not None]
    return min(known, default=None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The sandbox of one run. `data_dir` is the only folder it may change, `readable` what it may read besides.

    `disk_mb` and `max_files` bound what `data_dir` holds; a single file is held to `disk_mb` by the kernel, the whole
    folder by the parent, which looks at it several times a second. `uid` is whom a child of root becomes; None leaves
    it root.
    """

    data_dir: str
    readable: tuple[str, ...]
    disk_mb: int
    max_files: int
    network: bool
    uid: int | None

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> "Policy":
        """The inverse of `pack`."""
        return cls(**{**packed, "readable": tuple(packed["readable"])})

    def pack(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Level:
    """What is in force in a child. `landlock` is the kernel's interface version, 0 where it has none; `missing` says
    in words what the machine does not offer."""

    rlimits: bool = False
    no_new_privileges: bool = False
    landlock: int = 0
    system_call_filter: bool = False
    network_namespace: bool = False
    uid: int | None = None
    missing: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """`full` where nothing is missing, `none` without any sandbox, else `reduced`."""
        if not self.no_new_privileges:
            return "none"
        return "reduced" if self.missing else "full"

    def pack(self) -> dict[str, Any]:
        """As plain data, with the name."""
        return {"level": self.name, **asdict(self), "missing": list(self.missing)}
