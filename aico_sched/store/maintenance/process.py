"""Runs a worker: hands it the key through a pipe, follows what it says, ends it when it must end."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import structlog

from aico_sched.outside import waiting
from aico_sched.store.maintenance.job import Job, Outcome, Target

log = structlog.get_logger(__name__)

_LINE_LIMIT = 1 << 20
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
_CODES = {"FileExistsError": "conflict", "NotADirectoryError": "invalid_message", "PermissionError": "conflict"}


async def run_worker(job: Job, target: Target, timeout: float, news: Callable[[], None]) -> None:
    """Carry out `job` and leave its outcome in it. `news` is called when the file is free again, and with each word
    of progress. Whatever happens, the worker has ended when this returns."""
    try:
        async with asyncio.timeout(timeout):
            with waiting():
                job.outcome = await _work(job, target, news)
    except TimeoutError:
        message = f"it took longer than store.maintenance_timeout ({timeout:g} s) and was ended; nothing was changed"
        job.outcome = Outcome("unavailable", message)
    except asyncio.CancelledError:
        job.outcome = Outcome("unavailable", job.cancelled or "it was ended before it was through; nothing was changed")
        raise
    except Exception as error:
        log.error("maintenance_failed", kind=job.kind, error=repr(error))
        job.outcome = Outcome("internal", f"it could not be carried out: {error}")


async def _work(job: Job, target: Target, news: Callable[[], None]) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        # On a full disk the compiled copy of a module would be cut short, and break every later start.
        "-B",
        "-m",
        "aico_sched.store.maintenance.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        pass_fds=() if target.lock is None else (target.lock,),
        limit=_LINE_LIMIT,
        # Ctrl-C is for whoever started it, who then ends it.
        process_group=0,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        request = {
            "operation": job.kind,
            "path": str(target.path),
            "key": target.key,
            "options": job.options,
            "parent": os.getpid(),
        }
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
        outcome: Outcome | None = None
        async for line in process.stdout:
            outcome = _take(job, json.loads(line), news) or outcome
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        complaint = (await errors).decode(errors="replace").strip()
        # Where the transport is not closed here, it complains when it is collected.
        process.stdin.close()
    if outcome is None:
        log.error("worker_died", kind=job.kind, exit_code=process.returncode, stderr=complaint[-2_000:])
        return Outcome("unavailable", f"its process ended unexpectedly (exit code {process.returncode}); try again")
    return outcome


def _take(job: Job, said: dict[str, Any], news: Callable[[], None]) -> Outcome | None:
    """One line of the worker's; an outcome if it was its last."""
    if "result" in said:
        return Outcome("ok", "", said["result"])
    if "error" in said:
        kind, message = said["error"]["type"], said["error"]["message"]
        return Outcome(_CODES.get(kind, "unavailable"), message, {"error_type": kind})
    job.phase, job.fraction = said["phase"], said["fraction"]
    job.exclusive = said["exclusive"]
    news()
    return None


def _environment() -> dict[str, str]:
    """What a worker needs, and no secret."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
