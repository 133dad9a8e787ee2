"""The package as it is built: from a copy of the tree, so that building leaves no trace in the real one."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """The output of a command that must succeed, run without the caller's Python path."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PIP_CONFIG_FILE": "/dev/null", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_of_tree(folder: Path) -> Path:
    """The source tree as a clone has it."""
    copy = folder / "aico-sched"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=NOT_SOURCE)
    return copy


def build(kind: str, tree: Path, target: Path) -> Path:
    """The file that `python -m build` makes of `tree`, with the tools that are installed here."""
    run(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", target, tree, cwd=tree)
    (made,) = target.iterdir()
    return made
