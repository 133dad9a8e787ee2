"""What the worker of these tests does; run as a program, it is a parent that asks for something long."""

import asyncio
import os
import time

from aico_sched.worker.worker import Worker


class Errands:
    def __init__(self, word: str) -> None:
        self._said, self._word = "", word

    def say(self, times: int) -> str:
        self._said += self._word * times
        return self._said

    def fail(self) -> None:
        raise LookupError("no word for it")

    def chatter(self) -> str:
        print("a line for people", flush=True)
        return "said"

    def pid(self) -> int:
        return os.getpid()

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass


async def _parent() -> None:
    async with Worker.open("tests.integration.worker.errands:Errands", word="a") as worker:
        print(await worker.call("pid"), flush=True)
        await worker.call("spin", seconds=600)


if __name__ == "__main__":
    asyncio.run(_parent())
