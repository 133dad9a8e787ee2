"""The installed package works from any folder, and beside whatever a user has there."""

from collections.abc import Callable
from pathlib import Path

from aico_sched import __version__

PROBE = """
import aico_sched.actors, aico_sched.topics.names
from aico_sched.settings import Settings
print(aico_sched.__file__)
print(Settings.load(environ={"AICO_SCHED_DATA_DIR": "/d"}).scheduler.batch_size)
"""


Run = Callable[..., str]


def test_the_command_works_from_another_folder(installed: Path, run: Run, tmp_path: Path) -> None:
    assert run(installed / "aico-sched", "--version", cwd=tmp_path).split() == ["aico-sched", __version__]


def test_the_package_finds_its_subpackages_and_its_defaults(installed: Path, run: Run, tmp_path: Path) -> None:
    where, batch_size = run(installed / "python", "-c", PROBE, cwd=tmp_path).split()
    assert Path(where).is_relative_to(installed.parent)
    assert batch_size == "100"


def test_a_users_own_modules_of_the_same_names_do_not_clash(installed: Path, run: Run, tmp_path: Path) -> None:
    for name in ("actors", "topics", "config", "store", "tasks"):
        (tmp_path / f"{name}.py").write_text(f"print('the user\\'s own {name}')")
    script = tmp_path / "script.py"
    script.write_text(f"{PROBE}\nimport actors, topics, config")
    words = run(installed / "python", script, cwd=tmp_path).splitlines()
    assert words[1:] == ["100", "the user's own actors", "the user's own topics", "the user's own config"]


def test_an_editable_install_reads_the_tree(
    tree: Path, make_environment: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    commands = make_environment("--editable", tree)
    where, batch_size = run(commands / "python", "-c", PROBE, cwd=tmp_path).split()
    assert Path(where) == tree / "aico_sched" / "__init__.py"
    assert batch_size == "100"


def test_a_plain_checkout_needs_no_install(tree: Path, run: Run, make_environment: Callable[..., Path]) -> None:
    where, _ = run(make_environment() / "python", "-c", PROBE, cwd=tree).split()
    assert Path(where).parent == tree / "aico_sched"
