"""A Dask cluster on this machine, in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.support.process import ROOT

CLUSTER = """
import asyncio, sys
from distributed import LocalCluster

async def main():
    options = {"n_workers": 1, "threads_per_worker": 2, "resources": {"GPU": 1}, "host": "127.0.0.1"}
    async with LocalCluster(**options, asynchronous=True, dashboard_address=None, silence_logs=50) as cluster:
        print(cluster.scheduler_address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

if __name__ == "__main__":
    asyncio.run(main())
"""


@contextmanager
def local_cluster(folder: Path, *modules: Path) -> Iterator[str]:
    """The address of a cluster with one worker, which has the code in the folders `modules` besides ours."""
    (folder / "cluster.py").write_text(CLUSTER)
    path = os.pathsep.join(map(str, (ROOT, *modules)))
    environment = {**os.environ, "PYTHONPATH": path, "DASK_TEMPORARY_DIRECTORY": str(folder)}
    command = [sys.executable, str(folder / "cluster.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
