"""`python -m aico_sched.demo`."""

import importlib
import sys
import time

INTERRUPTED = 130


def main() -> int:
    """Run the demo; the exit code. Ctrl-C ends it quietly, also while it is still being loaded."""
    began = time.monotonic()
    try:
        code: int = importlib.import_module("aico_sched.demo.stage").main(sys.argv[1:], began)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; all its processes have ended.\n")
        return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
