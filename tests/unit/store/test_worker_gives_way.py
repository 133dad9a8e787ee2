"""The child that works on the whole database takes no processor or disk from the service."""

import subprocess
import sys

import pytest

ASK = """
import psutil
from aico_sched.store.maintenance import worker
worker._give_way()
print(psutil.Process().nice(), psutil.Process().ionice().value)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has classes of the disk")
def test_its_process_comes_last() -> None:
    said = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
    nice, place = map(int, said.split())
    assert nice >= 10
    assert place == 7
