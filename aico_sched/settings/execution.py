"""The section `execution:`: where attempts run, and what is done about those that harm the others."""

from pydantic import Field

from aico_sched.settings.sections import Section


class ExecutionSettings(Section):
    """`execution:`; the defaults and what each key means stand in `config/defaults/core.yaml`."""

    threads: int | None = Field(ge=1, le=1_000)
    cancel_grace: float = Field(ge=0.1, le=3_600)
