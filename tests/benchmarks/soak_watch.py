"""The soak's witness: a subscriber that checks every slot of every task as its `succeeded` event comes.

python soak_watch.py DATA_DIR KEY PREFIX PERIOD, PREFIX being that of the tasks' ids and PERIOD their seconds. A line
`true` says that it hears. Each line on standard input is answered with the figures since the last: start delays (p50,
p99, max in seconds), runs, and in all: slots missed, slots run twice, events lost (gaps in `seq`), runs that failed.
It keeps one number for each task and each slot that is missing, so its own memory does not grow.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgpack
import zmq
from harness import percentile
from listener import HEARTBEAT, connect

SUCCEEDED = "scheduler.event.execution.succeeded"
PREFIX = "scheduler.event.execution."
EXPECTED = frozenset({SUCCEEDED, f"{PREFIX}started", f"{PREFIX}progress", f"{PREFIX}deferred"})
"""A run that is put off is late, which the delays show; it must succeed all the same."""


class Watch:
    """What has been seen so far."""

    def __init__(self, prefix: str, period: float) -> None:
        self._prefix, self._period = prefix, period
        self._last: dict[str, int] = {}
        self._holes: set[tuple[str, int]] = set()
        self._seq: dict[str, int] = {}
        self._delays: list[float] = []
        self.doubled = self.events_lost = self.others = 0

    def take(self, topic: str, message: dict[str, Any]) -> None:
        """One event."""
        seq = int(message["attributes"]["seq"])
        if topic in self._seq:
            self.events_lost += max(0, seq - self._seq[topic] - 1)
        self._seq[topic] = max(seq, self._seq.get(topic, 0))
        payload = message["payload"]
        if not payload["task_id"].startswith(self._prefix):
            return
        if topic not in EXPECTED:
            self.others += 1
        if topic == SUCCEEDED:
            self._slot(payload)

    def _slot(self, payload: dict[str, Any]) -> None:
        slot = datetime.fromisoformat(payload["scheduled_for"]).timestamp()
        self._delays.append(datetime.fromisoformat(payload["started_at"]).timestamp() - slot)
        task, number = payload["task_id"], round(slot / self._period * 1_000)
        last = self._last.get(task, number - 1_000)
        if number > last:
            # What lies between may still be running: a hole is filled when its end comes.
            self._holes.update((task, each) for each in range(last + 1_000, number, 1_000))
            self._last[task] = number
        elif (task, number) in self._holes:
            self._holes.remove((task, number))
        else:
            self.doubled += 1

    def figures(self) -> dict[str, float]:
        """Since the last call, and in all."""
        delays, self._delays = self._delays, []
        shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        found: dict[str, float] = {name: percentile(delays, share) for name, share in shares.items()} if delays else {}
        counted = {"missed": len(self._holes), "doubled": self.doubled, "events_lost": self.events_lost}
        return {**found, **counted, "runs": len(delays), "others": self.others, "tasks": len(self._last)}


def main() -> int:
    """The process; it ends with its standard input."""
    data_dir, key, prefix, period = sys.argv[1:]
    socket = connect(Path(data_dir), key, PREFIX)
    watch = Watch(prefix, float(period))
    print("true", flush=True)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while True:
        ready = dict(poller.poll(200))
        try:
            while True:
                topic, body = socket.recv_multipart(zmq.NOBLOCK)
                if topic != HEARTBEAT:
                    watch.take(topic.decode(), msgpack.unpackb(body))
        except zmq.Again:
            pass
        if sys.stdin.fileno() in ready:
            if not sys.stdin.readline():
                return 0
            print(json.dumps(watch.figures()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
