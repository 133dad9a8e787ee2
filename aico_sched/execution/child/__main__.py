"""The child: `python -m aico_sched.execution.child DESCRIPTOR PARENT`, started by `ChildProcess` and by nobody else."""

import asyncio
import faulthandler
import signal
import socket
import sys

# structlog imports rich for a console nobody looks at here: a third of the time a child takes to start.
sys.modules["rich"] = None  # type: ignore[assignment]
from aico_sched.execution.child.work import serve  # noqa: E402

del sys.modules["rich"]

from aico_sched.execution.sandbox.apply import die_with_parent  # noqa: E402


def main() -> None:
    """Take one job from the socket, do it, end."""
    descriptor, parent = map(int, sys.argv[1:])
    die_with_parent(parent)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = socket.socket(fileno=descriptor)
    pipe.set_inheritable(False)
    asyncio.run(serve(pipe))


if __name__ == "__main__":
    main()
