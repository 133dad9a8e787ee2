"""aico-sched: the task scheduler of AICO, embeddable in any asyncio program."""

__version__ = "0.1.0"
