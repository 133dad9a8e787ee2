"""A copy of the tree, what is built from it, and a fresh environment to install it in: each made once."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")


def _run(*command: str | Path, cwd: Path, **environ: str) -> str:
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


def _build(kind: str, tree: Path, target: Path) -> Path:
    """The file that `python -m build` makes of `tree`, with the tools that are installed here."""
    _run(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", target, tree, cwd=tree)
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Runs a command that must succeed, in `cwd`, and gives its output."""
    return _run


@pytest.fixture(scope="session")
def build_wheel() -> Callable[[Path, Path], Path]:
    """Builds the wheel of a tree into a folder."""
    return lambda tree, target: _build("wheel", tree, target)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree as a clone has it, so that building leaves no trace in the real one."""
    copy = tmp_path_factory.mktemp("tree") / "aico-sched"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=NOT_SOURCE)
    return copy


@pytest.fixture(scope="session")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build("wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build("sdist", tree, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an environment with our package in it, and gives its folder of commands. The dependencies are lent by
    the environment the tests run in; our own package is not, for path files inside a lent folder are not read."""

    def make(*what: str | Path) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, with_pip=False, symlinks=True)
        paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)}, scheme="venv")
        installed = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
        (Path(paths["purelib"]) / "lent.pth").write_text(
            "\n".join({sysconfig.get_path(k) for k in ("purelib", "platlib")})
        )
        python = Path(paths["scripts"]) / "python"
        if what:
            _run(sys.executable, "-m", "pip", "--python", python, "install", *installed, *what, cwd=folder)
        return python.parent

    return make


@pytest.fixture(scope="session")
def installed(wheel: Path, make_environment: Callable[..., Path]) -> Path:
    """The commands of an environment that has the wheel installed."""
    return make_environment(wheel)
