"""Runs flake8 over task code with the rules that matter to a task. The code is read, never imported."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

SELECTED = ("ACS", "ASYNC105", "ASYNC210", "ASYNC211", "ASYNC212", "ASYNC22", "ASYNC23", "ASYNC24", "ASYNC25", "E9")
"""Ours, what blocks, a forgotten `await`, and files that are no Python. The other rules of flake8-async are about
trio's and anyio's ways, or about style."""

_MEND = {
    "ACS": "await context.checkpoint() in it, or take its items from `async for batch in context.batches(items)`",
    "ASYNC105": "await it",
    "ASYNC21": "await context.http.get(…), or declare the class a BlockingTask",
    "ASYNC22": "await asyncio.create_subprocess_exec(…), or declare the class a BlockingTask",
    "ASYNC23": "use context.files, or declare the class a BlockingTask",
    "ASYNC24": "use context.files (an anyio.Path), or declare the class a BlockingTask",
    "ASYNC250": "a task has no terminal: take it from the configuration",
    "ASYNC251": "await context.sleep(…)",
    "E9": "correct it; a file that is no Python holds no task",
}
_SEPARATOR = "\x1f"
_FORMAT = _SEPARATOR.join(("%(path)s", "%(row)d", "%(col)d", "%(code)s", "%(text)s"))
_DEADLINE = 600.0


class LintUnavailable(Exception):
    """flake8 or flake8-async is not installed."""


class LintFailed(Exception):
    """flake8 itself did not work; the message is what it said."""


class Found(NamedTuple):
    """One finding, `line` and `column` from 1; `mend` says what to do."""

    file: str
    line: int
    column: int
    code: str
    message: str
    mend: str


def lint(paths: list[Path]) -> list[Found]:
    """The findings in these files and folders, by place.

    Neither the code nor any configuration that lies beside it is run: flake8 could be told there to import plugins.
    Raises `LintUnavailable`, `LintFailed`.
    """
    missing = [name for name in ("flake8", "flake8_async") if find_spec(name) is None]
    if missing:
        raise LintUnavailable(f"{' and '.join(missing).replace('_', '-')} not installed")
    command = [sys.executable, "-P", "-m", "flake8", "--isolated", "--asyncio", f"--format={_FORMAT}"]
    command += [f"--select={','.join(SELECTED)}", "--", *(str(path.absolute()) for path in paths)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise LintFailed(f"flake8 took longer than {_DEADLINE:g} s") from error
    if done.returncode not in (0, 1) or (done.returncode == 1 and not done.stdout):
        raise LintFailed(done.stderr.strip() or f"flake8 ended with exit code {done.returncode}")
    return sorted(_parsed(line) for line in done.stdout.splitlines() if line.count(_SEPARATOR) == 4)


def _parsed(line: str) -> Found:
    file, row, column, code, text = line.split(_SEPARATOR)
    return Found(file, int(row), int(column), code, text, mend(code))


def mend(code: str) -> str:
    """How a finding is mended, by its code; the longest prefix counts."""
    known = [prefix for prefix in _MEND if code.startswith(prefix)]
    return _MEND[max(known, key=len)] if known else ""
