"""The sections of the configuration, key by key with their ranges. Their defaults stand in `config/defaults/core.yaml`
and nowhere else; what a key means and its unit is said there."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from aico_sched.paths import absolute
from aico_sched.quiet import QuietHours
from aico_sched.schedule import ScheduleError, parse_blackout, parse_schedule
from aico_sched.topics import limits, names
from aico_sched.topics.commands import PositiveSeconds, TaskOptions

DAY = 86_400.0
_CONNECT = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<publish>\d{1,5}),(?P<subscribe>\d{1,5})")
_CONNECT_FORM = "tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT, such as tcp://127.0.0.1:5555,5556, or null"
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def _as_path(value: Any) -> Any:
    return absolute(value) if isinstance(value, str) and value else value


AnyPath = Annotated[Path, BeforeValidator(_as_path)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class Section(BaseModel):
    """Base of every section: frozen, nothing unknown, and no value of a wrong kind bent into the right one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SchedulerSettings(Section):
    """`scheduler:`, the seeds' keys first, ours after them."""

    enabled: bool
    max_concurrent_tasks: int = Field(ge=1, le=10_000)
    max_cpu_percent: Percent
    max_memory_percent: Percent
    auto_discover: bool
    task_modules: list[str] = Field(max_length=1_000)
    scheduler_interval: float = Field(ge=0.01, le=30)
    batch_size: int = Field(ge=1, le=10_000)
    cache_size: int = Field(ge=1, le=10_000_000)
    default_retry_count: int = Field(ge=0, le=99)
    default_retry_delay: float = Field(ge=0, le=DAY)
    max_retry_delay: float = Field(ge=0, le=30 * DAY)
    resource_check_interval: float = Field(ge=0.05, le=3_600)
    idle_threshold_cpu: Percent
    idle_threshold_memory: Percent

    user_idle_after: float = Field(ge=0, le=DAY)
    longest_pause: float = Field(ge=0, le=30 * DAY)
    stress_after: int = Field(ge=1, le=10_000)
    stress_stretch: int = Field(ge=1, le=1_024)
    standby: bool
    timezone: str | None
    health_window: float = Field(ge=1, le=DAY)
    quiet_hours: str
    blackout: list[str] = Field(max_length=32)
    groups: dict[str, int] = Field(max_length=1_000)
    priority_aging: float = Field(ge=0.001, le=DAY)
    default_timeout: float = Field(gt=0, le=30 * DAY)
    shutdown_grace: float = Field(ge=0, le=3_600)
    mailbox_limit: int = Field(ge=1, le=1_000_000)
    turn_budget: float = Field(ge=0.0001, le=1)
    restart_budget: int = Field(ge=0, le=1_000)
    restart_window: float = Field(gt=0, le=DAY)
    entry_points: bool
    user_task_folder: AnyPath | None
    heartbeat_interval: float = Field(ge=0.05, le=3_600)
    event_retention: int = Field(ge=100, le=100_000_000)
    audit_retention: int = Field(ge=100, le=1_000_000_000)
    message_id_retention: float = Field(ge=1, le=30 * DAY)
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    log_format: Literal["auto", "console", "json"]
    log_topic: str | None

    @field_validator("log_topic")
    @classmethod
    def _is_a_foreign_topic(cls, topic: str | None) -> str | None:
        if topic is None:
            return None
        if not topic or not topic.isprintable() or " " in topic or len(topic.encode()) > limits.MAX_TOPIC_BYTES:
            raise ValueError(f"a topic of 1 to {limits.MAX_TOPIC_BYTES} bytes, printable and without spaces")
        if f"{topic}.".startswith(names.ROOT):
            raise ValueError(f"a topic outside {names.ROOT}*, which is the scheduler's own")
        return topic

    @field_validator("task_modules")
    @classmethod
    def _names_modules(cls, modules: list[str]) -> list[str]:
        for module in modules:
            if not _MODULE.fullmatch(module):
                raise ValueError(f"dotted names of Python modules; {module!r} is none")
        return modules

    @field_validator("quiet_hours")
    @classmethod
    def _is_a_window(cls, window: str) -> str:
        QuietHours.of_window(window, "UTC")
        return window

    @field_validator("blackout")
    @classmethod
    def _are_windows(cls, windows: list[str]) -> list[str]:
        try:
            parse_blackout(tuple(windows), "UTC")
        except ScheduleError as error:
            raise ValueError(str(error)) from error
        return windows

    @field_validator("groups")
    @classmethod
    def _limits_groups(cls, groups: dict[str, int]) -> dict[str, int]:
        if not all(0 < len(name) <= 256 and 1 <= limit <= 10_000 for name, limit in groups.items()):
            raise ValueError("names of groups, each with how many of its tasks may run at one time, from 1 to 10000")
        return groups

    @field_validator("timezone")
    @classmethod
    def _names_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            check_zone(name)
        return name

    @field_validator("max_retry_delay")
    @classmethod
    def _is_the_longer_delay(cls, longest: float, info: Any) -> float:
        first = info.data.get("default_retry_delay", 0)
        if longest < first:
            raise ValueError(f"at least scheduler.default_retry_delay, which is {first:g}")
        return longest


class BusSettings(Section):
    """`bus:`, the hosted broker's addresses, or the broker to join."""

    host: str = Field(pattern=r"^(\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$")
    publish_port: Port
    subscribe_port: Port
    connect: str | None
    keys: AnyPath | None
    codec: Literal["auto", "msgpack", "aico"]
    server_key: str | None = Field(pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")
    signing_keys: AnyPath | None
    unsigned_role: Literal["observer", "module", "operator", "admin"] | None
    signature_window: float = Field(ge=1, le=3_600)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    key_overlap: float = Field(ge=0, le=365)
    key_max_age: float = Field(gt=0, le=36_500)
    rate_limit: int = Field(ge=1, le=10_000_000)

    @field_validator("connect")
    @classmethod
    def _is_an_address(cls, text: str | None) -> str | None:
        if text is not None:
            parse_connect(text)
        return text

    @field_validator("subscribe_port")
    @classmethod
    def _is_another_port(cls, port: int, info: Any) -> int:
        if port and port == info.data.get("publish_port"):
            raise ValueError("another port than bus.publish_port, or 0 for any free one")
        return port

    @property
    def foreign(self) -> bool:
        """Whether the bus is one whose broker knows nobody's name: one that is joined without a key folder."""
        return self.connect is not None and self.keys is None

    @property
    def spoken(self) -> Literal["msgpack", "aico"]:
        """The codec of what the service says of itself."""
        if self.codec != "auto":
            return self.codec
        return "aico" if self.foreign else "msgpack"

    @property
    def joined(self) -> tuple[str, str] | None:
        """The addresses of the bus to join, for publishers and for subscribers; None when the bus is hosted."""
        return None if self.connect is None else parse_connect(self.connect)


class StoreSettings(Section):
    """`store:`, the database."""

    path: AnyPath | None
    synchronous: Literal["full", "normal"]
    key_source: Literal["auto", "file", "environment", "keyring", "passphrase", "aico"]
    key_file: AnyPath | None
    maintenance_timeout: float = Field(ge=0.01, le=DAY)
    history_days: float = Field(gt=0, le=36_500)
    history_rows: int = Field(ge=1, le=1_000_000_000)
    history_mb: int = Field(ge=1, le=100_000_000)
    history_keep: int = Field(ge=0, le=1_000)


class SandboxSettings(Section):
    """`sandbox:`, what the code of user and custom tasks may use."""

    enabled: bool
    memory_mb: int = Field(ge=16, le=1_048_576)
    cpu_seconds: int = Field(ge=1, le=int(30 * DAY))
    disk_mb: int = Field(ge=1, le=1_048_576)
    max_files: int = Field(ge=1, le=10_000_000)
    allow_network: list[str] = Field(max_length=1_000)
    uid: int | None = Field(ge=1, le=2**31 - 2)


class DataSettings(Section):
    """`data:`, AICO's own data as the built-in tasks read and write it."""

    database: AnyPath | None
    key_file: AnyPath | None


class WebSettings(Section):
    """`web:`, the REST API and the dashboard (extra `api`)."""

    host: str = Field(pattern=r"^[A-Za-z0-9._:-]+$")
    port: Port
    hosts: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$")]] = Field(max_length=100)
    token_file: AnyPath | None


class PathSettings(Section):
    """`paths:`. `data_dir` is always resolved once the settings are loaded."""

    data_dir: AnyPath


class TaskSettings(TaskOptions):
    """One task of `tasks.<category>.<task>`: when it runs, its options, and keys of its own in `config`."""

    model_config = ConfigDict(extra="allow")

    enabled: bool = True
    schedule: str | None = Field(default=None, min_length=1, max_length=256)
    max_duration: PositiveSeconds | None = None

    @field_validator("schedule")
    @classmethod
    def _can_be_scheduled(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                parse_schedule(text, "UTC")
            except ScheduleError as error:
                raise ValueError(f"a schedule. {error}") from None
        return text

    @model_validator(mode="after")
    def _has_a_zone(self) -> "TaskSettings":
        if self.timezone is not None:
            check_zone(self.timezone)
        return self

    @property
    def config(self) -> dict[str, Any]:
        """The keys that are the task's own; its class validates them."""
        return dict(self.model_extra or {})

    @property
    def options(self) -> dict[str, Any]:
        """The options set here, as `scheduler.task.create` takes them. `max_duration` wins over `timeout`."""
        chosen = self.model_dump(mode="json", include=self.model_fields_set & set(TaskOptions.model_fields))
        if self.max_duration is not None:
            chosen["timeout"] = self.max_duration
        return chosen


def parse_connect(text: str) -> tuple[str, str]:
    """The publishers' and the subscribers' address in `tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT`; else ValueError."""
    match = _CONNECT.fullmatch(text)
    if match is None or not all(0 < int(match[port]) < 65_536 for port in ("publish", "subscribe")):
        raise ValueError(_CONNECT_FORM)
    return f"tcp://{match['host']}:{match['publish']}", f"tcp://{match['host']}:{match['subscribe']}"


def check_zone(name: str) -> None:
    """Raises ValueError unless `name` is a time zone of the IANA database."""
    try:
        ZoneInfo(name)
    # A missing zone, a path that leaves the database, a folder of it: each is another error class.
    except (KeyError, ValueError, OSError):
        raise ValueError("the name of an IANA time zone, such as Europe/Berlin, or null") from None
