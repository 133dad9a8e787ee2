import os
import py_compile
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aico_sched.tasks.discovery import (
    FoundClass,
    Scan,
    canonical_module,
    find_spec,
    scan_entry_points,
    scan_modules,
    scan_user_folder,
)

Put = Callable[[Path, str], Path]
Source = Callable[..., str]


def modules(*names: str) -> Scan:
    scan = Scan()
    scan_modules(names, scan)
    return scan


def test_a_package_is_searched_to_its_depths_without_running_any_of_it(library: Path, put: Put, source: Source) -> None:
    bomb = "raise SystemExit('imported')\n"
    put(library / "deep" / "__init__.py", bomb)
    put(library / "deep" / "one.py", bomb + source("acme.one"))
    put(library / "deep" / "sub" / "__init__.py", bomb + source("acme.sub"))
    put(library / "deep" / "sub" / "two.py", bomb + source("acme.two", "Two"))
    put(library / "deep" / "__main__.py", bomb + source("acme.main"))
    scan = modules("deep")
    assert sorted(scan.classes) == ["acme.one", "acme.sub", "acme.two"]
    assert scan.problems == {}
    two = scan.classes["acme.two"]
    assert (two.module, two.attribute, two.source, two.description, two.path) == (
        "deep.sub.two",
        "Two",
        "module",
        "Does acme.two.",
        None,
    )
    assert not {name for name in sys.modules if name.startswith("deep")}


def test_a_module_is_found_without_importing_its_parents(library: Path, put: Put, source: Source) -> None:
    put(library / "parent" / "__init__.py", "raise SystemExit")
    put(library / "parent" / "child.py", source("acme.child"))
    spec = find_spec("parent.child")
    assert spec is not None and spec.origin == str(library / "parent" / "child.py")
    assert list(modules("parent.child").classes) == ["acme.child"]


@pytest.mark.parametrize("name", ["nowhere", "nowhere.at.all", "json.nothing", "json.tool.deeper", "", ".json"])
def test_a_module_that_does_not_exist_is_a_problem(name: str) -> None:
    assert modules(name).problems == {name: "there is no such module"}


def test_the_seeds_paths_mean_our_own_modules() -> None:
    assert canonical_module("aico.scheduler.tasks") == "aico_sched.tasks"
    assert canonical_module("aico.scheduler.tasks.bus") == "aico_sched.tasks.bus"
    assert canonical_module("aico.scheduler.tasksx") == "aico.scheduler.tasksx"
    scan = modules("aico.scheduler.tasks.bus", "aico_sched.tasks.bus")
    assert sorted(scan.classes) == ["bus.publish", "bus.request"]
    assert scan.problems == {}
    assert {found.source for found in scan.classes.values()} == {"builtin"}


def test_broken_source_is_a_problem_of_its_module_only(library: Path, put: Put, source: Source) -> None:
    put(library / "mixed" / "__init__.py", "")
    put(library / "mixed" / "bad.py", source("acme.bad") + "\n)")
    put(library / "mixed" / "good.py", source("acme.good"))
    scan = modules("mixed")
    assert list(scan.classes) == ["acme.good"]
    assert list(scan.problems) == ["mixed.bad"]


def test_a_name_that_no_task_may_have_is_a_problem(library: Path, put: Put, source: Source) -> None:
    put(library / "odd.py", source("no spaces!"))
    scan = modules("odd")
    assert scan.classes == {}
    assert "no spaces!" in scan.problems["odd.ATask"]


def test_who_comes_first_keeps_the_name(library: Path, put: Put, source: Source) -> None:
    put(library / "first.py", source("acme.x"))
    put(library / "second.py", source("acme.x", "Other"))
    scan = modules("first", "second")
    assert scan.classes["acme.x"].module == "first"
    assert scan.problems == {"second.Other": "the name 'acme.x' is taken by first.ATask"}


def compiled(library: Path, name: str, text: str) -> None:
    path = library / f"{name}.py"
    path.write_text(text)
    py_compile.compile(str(path), cfile=str(library / f"{name}.pyc"))
    path.unlink()


def test_a_module_without_source_is_imported(library: Path, source: Source) -> None:
    compiled(library, "closed", source("acme.closed", body='default_schedule = "@daily"'))
    found = modules("closed").classes["acme.closed"]
    expected = FoundClass("acme.closed", "closed", "ATask", "module", "Does acme.closed.", "@daily", True)
    assert found == expected


@pytest.mark.parametrize("bomb", ["raise SystemExit(1)", "raise KeyboardInterrupt", "1 / 0"])
def test_a_module_without_source_that_cannot_be_imported_is_a_problem(library: Path, bomb: str) -> None:
    compiled(library, "closed", bomb)
    scan = modules("closed")
    assert scan.classes == {}
    assert scan.problems["closed"].startswith("importing it failed with")


def installed(library: Path, put: Put, entries: str) -> Scan:
    put(library / "acme-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    put(library / "acme-1.0.dist-info" / "entry_points.txt", f"[aico_sched.tasks]\n{entries}\n")
    scan = Scan()
    scan_entry_points(scan)
    return scan


def test_entry_points_announce_classes_without_importing_them(library: Path, put: Put, source: Source) -> None:
    put(library / "acme_tasks.py", "raise SystemExit\n" + source("acme.sync", "Sync"))
    scan = installed(library, put, "acme.sync = acme_tasks:Sync")
    found = scan.classes["acme.sync"]
    assert (found.source, found.attribute, found.description) == ("entry_point", "Sync", "Does acme.sync.")
    assert found.schedule_known
    assert "acme_tasks" not in sys.modules


def test_an_entry_point_may_name_a_whole_module(library: Path, put: Put, source: Source) -> None:
    put(library / "acme_tasks.py", source("acme.a", "A") + source("acme.b", "B"))
    assert sorted(installed(library, put, "all = acme_tasks").classes) == ["acme.a", "acme.b"]


def test_an_entry_point_to_code_that_cannot_be_read_is_known_by_its_name(library: Path, put: Put) -> None:
    put(library / "acme_tasks.py", "made = dict(A=type('A', (), {}))\n")
    scan = installed(library, put, "acme.gone = acme_missing:Gone\nacme.made = acme_tasks:made")
    assert {name: found.schedule_known for name, found in scan.classes.items()} == {
        "acme.gone": False,
        "acme.made": False,
    }


def test_an_entry_point_that_names_no_object_is_a_problem(library: Path, put: Put) -> None:
    assert list(installed(library, put, "acme.bad = not a reference!").problems) == ["acme.bad"]


def user(folder: Path) -> Scan:
    scan = Scan()
    scan_user_folder(folder, scan)
    return scan


def test_files_of_the_user_folder_are_found_without_running_them(user_folder: Path, put: Put, source: Source) -> None:
    file = put(user_folder / "hello.py", "raise SystemExit\n" + source("user.hello") + source("custom.hi", "Hi"))
    put(user_folder / "_helper.py", "syntax error here")
    put(user_folder / "notes.txt", "not code")
    scan = user(user_folder)
    assert scan.problems == {}
    assert {name: found.module for name, found in scan.classes.items()} == {
        "user.hello": "aico_sched_user.hello",
        "custom.hi": "aico_sched_user.hello",
    }
    assert scan.classes["user.hello"].path == file


def test_a_missing_user_folder_holds_nothing(tmp_path: Path) -> None:
    assert user(tmp_path / "none") == Scan()


@pytest.mark.parametrize("name", ["maintenance.x", "security.x", "agency.x", "bus.x", "userx.y", "User.x"])
def test_user_code_may_not_take_names_of_others(user_folder: Path, put: Put, source: Source, name: str) -> None:
    put(user_folder / "sly.py", source(name))
    scan = user(user_folder)
    assert scan.classes == {}
    assert "must start with one of: user., custom." in scan.problems["aico_sched_user.sly.ATask"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_others_can_write_to_is_refused(user_folder: Path, put: Put, source: Source, mode: int) -> None:
    file = put(user_folder / "open.py", source("user.open"))
    file.chmod(mode)
    assert user(user_folder).problems == {str(file): f"others can write to it; run: chmod go-w {file}"}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_others_can_write_to_is_refused(user_folder: Path, put: Put, source: Source, mode: int) -> None:
    put(user_folder / "fine.py", source("user.fine"))
    user_folder.chmod(mode)
    scan = user(user_folder)
    assert scan.classes == {}
    assert "others can write to it" in scan.problems[str(user_folder)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(user_folder: Path, put: Put, source: Source) -> None:
    file = put(user_folder / "theirs.py", source("user.theirs"))
    os.chown(file, 12345, -1)
    assert "belongs to another user" in user(user_folder).problems[str(file)]


def test_links_pipes_and_folders_are_no_code(user_folder: Path, put: Put, source: Source, tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere.py", source("user.linked"))
    (user_folder / "link.py").symlink_to(elsewhere)
    (user_folder / "dangling.py").symlink_to(tmp_path / "nothing")
    os.mkfifo(user_folder / "pipe.py", 0o600)
    (user_folder / "folder.py").mkdir()
    scan = user(user_folder)
    assert scan.classes == {}
    assert {Path(path).name for path in scan.problems} == {"link.py", "dangling.py", "pipe.py", "folder.py"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("two words.py", b"", "not a Python identifier"),
        ("a-b.py", b"", "not a Python identifier"),
        ("broken.py", b"class A(BaseTask:\n    name = 'user.a'\n", "("),
        ("binary.py", b"\xff\xfe\x00", "cannot be decoded"),
        ("coding.py", b"# coding: nonsense\n", "cannot be decoded"),
        ("zero.py", b"class A(BaseTask):\n    name = 'user.a\0'\n", "null"),
        ("huge.py", b"#" * (1024 * 1024 + 1), "longer than"),
        ("empty.py", b"", "holds no class"),
    ],
)
def test_a_bad_file_is_a_problem_with_its_reason(user_folder: Path, name: str, content: bytes, says: str) -> None:
    file = user_folder / name
    file.write_bytes(content)
    file.chmod(0o600)
    scan = user(user_folder)
    assert scan.classes == {}
    assert says in scan.problems[str(file)]


def test_packages_without_an_init_file_are_searched_to_any_depth(library: Path, put: Put, source: Source) -> None:
    put(library / "spacious" / "inner" / "innermost" / "one.py", source("acme.one"))
    for name in ("spacious.inner.innermost.one", "spacious.inner.innermost"):
        assert modules(name).problems == {}
    assert list(modules("spacious.inner.innermost.one").classes) == ["acme.one"]
    assert list(modules("spacious.nowhere").problems) == ["spacious.nowhere"]
    assert "spacious" not in sys.modules
