"""The collector leaves alone what a service of its own consists of."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import gc, os, signal, sys
from contextlib import asynccontextmanager
from pathlib import Path
from aico_sched import process
from tests.integration.support.running import settings_for

@asynccontextmanager
async def beside():
    print(gc.get_freeze_count())
    os.kill(os.getpid(), signal.SIGTERM)
    yield

if __name__ == "__main__":
    sys.exit(process.run(settings_for(Path(sys.argv[1]), scheduler__task_modules=[]), beside))
"""


def test_a_started_service_is_frozen(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[-1]) > 10_000
