"""The child's side: makes the object, then answers one call after the other until its parent is gone."""

import importlib
import os
import queue
import sys
import threading
import time
from typing import Any, BinaryIO

from aico_sched.worker.frames import LENGTH, length_of, pack, unpack

_GONE = 1


def main() -> None:
    """Serve the pipe that is standard input and output. The first frame is `{factory, arguments, nice}`."""
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not end up among the answers.
    os.dup2(2, 1)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    first = requests.get()
    os.nice(first["nice"])
    target: Any = None

    def make() -> None:
        nonlocal target
        module, _, name = first["factory"].partition(":")
        target = getattr(importlib.import_module(module), name)(**first["arguments"])

    _answer(answers, make)
    while True:
        request = requests.get()
        method = getattr(target, request["method"])
        _answer(answers, lambda method=method, request=request: method(**request["arguments"]))


def _read(pipe: BinaryIO, requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Hand requests on. When the parent closes the pipe or dies the process ends at once, in the middle of a call
    too: what it works on survives a kill, an orphan that goes on does not."""
    while len(head := pipe.read(LENGTH.size)) == LENGTH.size:
        requests.put(unpack(pipe.read(length_of(head))))
    os._exit(_GONE)


def _answer(pipe: BinaryIO, call: Any) -> None:
    started = time.process_time()
    try:
        answer: dict[str, Any] = {"result": call()}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    answer["cpu"] = time.process_time() - started
    pipe.write(pack(answer))
    pipe.flush()


if __name__ == "__main__":
    main()
