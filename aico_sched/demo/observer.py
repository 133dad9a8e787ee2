"""A process that records the events with nothing but pyzmq, msgpack and the key files: it shows that the bus needs no
client of ours. It imports nothing from this package.

python -m aico_sched.demo.observer DATA_DIR KEY [LEFT_OUT]: connects when a line comes on standard input, writes a line
for each event, and ends with its input. Events whose topic begins with LEFT_OUT are not recorded (for tests).
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgpack
import zmq
import zmq.auth

EVENTS = "scheduler.event."
HEARTBEAT = "scheduler.event.availability"
FIELDS = ("task_id", "execution_id")


def connect(context: "zmq.Context[zmq.Socket[bytes]]", data_dir: Path, key: str) -> "zmq.Socket[bytes]":
    """A subscriber on the bus of the service whose data folder is `data_dir`, under the name `key`."""
    service = json.loads((data_dir / "service.json").read_text(encoding="utf-8"))
    public, secret = zmq.auth.load_certificate(data_dir / "keys" / "secrets" / f"{key}.key_secret")
    assert secret is not None
    socket = context.socket(zmq.SUB)
    socket.linger, socket.rcvhwm = 0, 0
    socket.curve_serverkey = service["server_public_key"].encode()
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.connect(service["subscribe"])
    socket.subscribe(EVENTS)
    return socket


def say(kind: str, **more: Any) -> None:
    """Tell the demo something."""
    sys.stdout.write(json.dumps({"kind": kind, **more}) + "\n")
    sys.stdout.flush()


def record(socket: "zmq.Socket[bytes]", left_out: str) -> None:
    """Report every event until standard input ends. The first one proves that the subscription is live."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    ready = False
    while True:
        readable = dict(poller.poll())
        if socket in readable:
            topic, body = socket.recv_multipart()
            name, message = topic.decode(), msgpack.unpackb(body)
            if not ready:
                ready = True
                say("ready")
            if name != HEARTBEAT and not (left_out and name.startswith(left_out)):
                about = {field: message["payload"].get(field) for field in FIELDS}
                say("event", topic=name, seq=int(message["attributes"]["seq"]), **about)
        elif sys.stdin.fileno() in readable:
            return


def main() -> int:
    """The process."""
    data_dir, key, *rest = sys.argv[1:]
    if not sys.stdin.readline():
        return 0
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        record(connect(context, Path(data_dir), key), "".join(rest))
    except BrokenPipeError:
        return 1
    finally:
        context.destroy(linger=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
