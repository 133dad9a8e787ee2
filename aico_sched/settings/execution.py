"""The section `execution:`: where attempts run, and what is done about those that harm the others."""

from pydantic import Field

from aico_sched.settings.sections import DAY, Section


class ClusterSettings(Section):
    """`cluster:`, the Dask cluster for tasks whose environment is `cluster`."""

    address: str | None = Field(pattern=r"^(tcp|tls|ws|wss|ucx)://[^\s]+$", max_length=256)
    connect_timeout: float = Field(gt=0, le=600)


class ExecutionSettings(Section):
    """`execution:`; the defaults and what each key means stand in `config/defaults/core.yaml`."""

    threads: int | None = Field(ge=1, le=1_000)
    processes: int | None = Field(ge=1, le=1_000)
    cancel_grace: float = Field(ge=0.1, le=3_600)
    stall_threshold: float | None = Field(ge=0.01, le=60)
    breaker_stalls: int = Field(ge=1, le=1_000)
    breaker_window: float = Field(gt=0, le=3_600)
    breaker_open_time: float = Field(ge=0.05, le=3_600)
    breaker_trials: int = Field(ge=1, le=1_000)
    strikes_to_move: int = Field(ge=0, le=1_000)
    strikes_to_disable: int = Field(ge=0, le=1_000)
    strike_window: float = Field(gt=0, le=366 * DAY)
