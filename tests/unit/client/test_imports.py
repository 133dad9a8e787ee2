"""A command of the command line is short, so what its client needs only in trouble is not loaded before."""

import subprocess
import sys

UNUSED = ("structlog", "rich", "yaml", "psutil", "libsql_experimental", "google.protobuf")


def test_a_client_is_imported_without_what_only_a_service_needs() -> None:
    program = f"import aico_sched.client, sys; print([name for name in {UNUSED} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
