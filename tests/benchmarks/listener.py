"""A subscriber that keeps reading: bare pyzmq, bodies are unpacked only when they are asked for.

python listener.py DATA_DIR KEY PREFIX. A line `true` on standard output says that it hears. A line
`{"topic", "count", "seconds"}` on standard input is answered with all events, once so many of the topic have come.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import zmq
import zmq.auth

HEARTBEAT = b"scheduler.event.availability"
HEAR_WITHIN_MS = 15_000
KEPT = ("task_id", "execution_id", "scheduled_for", "started_at", "completed_at", "at")

Heard = list[tuple[bytes, bytes, float]]


def connect(data_dir: Path, key: str, prefix: str) -> zmq.Socket[bytes]:
    """A subscriber that is known to hear, because a heartbeat came."""
    service = json.loads((data_dir / "service.json").read_text(encoding="utf-8"))
    public, secret = zmq.auth.load_certificate(data_dir / "keys" / "secrets" / f"{key}.key_secret")
    assert secret is not None
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    socket = context.socket(zmq.SUB)
    socket.linger, socket.rcvhwm = 0, 0
    socket.curve_serverkey = service["server_public_key"].encode()
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.connect(service["subscribe"])
    socket.subscribe(prefix)
    socket.subscribe(HEARTBEAT)
    if not socket.poll(HEAR_WITHIN_MS):
        raise SystemExit("the listener hears nothing")
    return socket


def read(socket: zmq.Socket[bytes], heard: Heard) -> None:
    """Take what is there."""
    while True:
        try:
            topic, body = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        if topic != HEARTBEAT:
            heard.append((topic, body, time.time()))


def unpacked(entry: tuple[bytes, bytes, float]) -> dict[str, Any]:
    """An event with what the benchmarks look at."""
    topic, body, arrived = entry
    message = msgpack.unpackb(body)
    kept = {name: message["payload"].get(name) for name in KEPT}
    return {"topic": topic.decode(), "seq": int(message["attributes"]["seq"]), "arrived": arrived, **kept}


def main() -> int:
    """The process; it ends with its standard input."""
    data_dir, key, prefix = sys.argv[1:]
    socket = connect(Path(data_dir), key, prefix)
    print("true", flush=True)
    heard: Heard = []
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    asked: dict[str, Any] | None = None
    deadline = 0.0
    while True:
        ready = dict(poller.poll(50))
        read(socket, heard)
        if sys.stdin.fileno() in ready:
            if not (line := sys.stdin.readline()):
                return 0
            asked = json.loads(line)
            deadline = time.monotonic() + asked["seconds"]
        if asked is not None:
            count = sum(entry[0] == asked["topic"].encode() for entry in heard)
            if count >= asked["count"] or time.monotonic() > deadline:
                print(json.dumps([unpacked(entry) for entry in heard]), flush=True)
                asked = None


if __name__ == "__main__":
    sys.exit(main())
