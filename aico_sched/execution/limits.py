"""What an attempt may use, and the errors that say it wanted more."""


class LimitExceeded(Exception):
    """A task used more than its `limits` allow. The attempt has failed; its retry policy decides what follows."""


class CpuLimitExceeded(LimitExceeded):
    """More processor time than `limits.cpu_seconds`."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"it used more than its limit of {limit:g} s of processor time (limits.cpu_seconds)")
        self.limit = limit
