"""A service on a real bus that is killed right after the COMMITSth commit that holds events, before any of them is out;
run by `test_outbox_kills.py` as `outbox_victim.py FOLDER PUBLISH_PORT SUBSCRIBE_PORT COMMITS`, 0 for never."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aico_sched.service import SchedulerService
from aico_sched.store.connection import Database, Row
from tests.integration.support.running import settings_for


def kill_after(commits: int) -> None:
    """Let the process die inside the `commits`th commit of events, when it is durable."""
    insert, commit = Database.insert, Database.commit
    state = {"events": False, "left": commits}

    def watched_insert(self: Database, name: str, rows: Sequence[Row]) -> list[Row]:
        state["events"] = state["events"] or name == "insert_event"
        return insert(self, name, rows)

    def watched_commit(self: Database) -> None:
        commit(self)
        if state["events"]:
            state["events"] = False
            state["left"] -= 1
            if state["left"] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    Database.insert, Database.commit = watched_insert, watched_commit  # type: ignore[method-assign]


async def main(folder: Path, publish: int, subscribe: int, commits: int) -> None:
    ports = {"bus__publish_port": publish, "bus__subscribe_port": subscribe}
    service = SchedulerService(settings_for(folder, scheduler__heartbeat_interval=0.2, **ports))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.ask_to_stop)
    async with service:
        if commits:
            kill_after(commits)
        sys.stdout.write("started\n")
        sys.stdout.flush()
        await service.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *(int(each) for each in sys.argv[2:5])))
