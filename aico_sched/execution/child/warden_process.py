"""The warden's process; started by `Warden` as a file, so it imports nothing of ours and takes little memory.

It reads `+NUMBER` and `-NUMBER` lines, process groups to watch over and to forget. Its input ends when the service
does, however that ends; then it kills the groups it still has, and itself ends.
"""

import os
import signal
import sys


def main() -> None:
    """Read until the input ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            # Nothing of it is left.
            continue


if __name__ == "__main__":
    main()
