"""A copy of the tree, what is built from it, and a fresh environment to install it in: each made once."""

import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import built


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Runs a command that must succeed, in `cwd`, and gives its output."""
    return built.run


@pytest.fixture(scope="session")
def build_wheel() -> Callable[[Path, Path], Path]:
    """Builds the wheel of a tree into a folder."""
    return lambda tree, target: built.build("wheel", tree, target)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree as a clone has it, so that building leaves no trace in the real one."""
    return built.copy_of_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="session")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.build("wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.build("sdist", tree, tmp_path_factory.mktemp("sdist"))


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
            built.run(sys.executable, "-m", "pip", "--python", python, "install", *installed, *what, cwd=folder)
        return python.parent

    return make


@pytest.fixture(scope="session")
def installed(wheel: Path, make_environment: Callable[..., Path]) -> Path:
    """The commands of an environment that has the wheel installed."""
    return make_environment(wheel)
