"""The user-task folder: which files in it may be trusted to run, and how they are read, loaded and removed."""

import hashlib
import importlib.util
import os
import stat
import sys
from importlib.abc import ExecutionLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

NAMESPACE = "aico_sched_user"
"""Parent of the private module names, so that a user's `json.py` hides nothing."""

CATEGORIES = ("user", "custom")
"""The first parts a user task's name may have."""

MAX_CODE_BYTES = 1024 * 1024


class RefusedCode(Exception):
    """A file or folder that must not be run; the message says why and what to do."""


class UserCode(NamedTuple):
    """The text of a code file as it was checked; what is parsed is what is run."""

    path: Path
    module: str
    source: str
    digest: str


def check_folder(folder: Path) -> None:
    """Raises `RefusedCode` unless only its owner, who is us or root, can put files into `folder`."""
    try:
        # The folder was resolved when the service started: a link in its place is somebody's later doing.
        status = folder.lstat()
    except OSError as error:
        raise RefusedCode(f"cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise RefusedCode("is not a folder")
    _check_owner(status, folder)


def code_files(folder: Path) -> list[Path]:
    """The code files of `folder`, by name; names that begin with an underscore are helpers, not tasks."""
    return [path for path in sorted(folder.glob("*.py")) if not path.name.startswith(("_", "."))]


def read_code(path: Path) -> UserCode:
    """The checked text of a code file. Raises `RefusedCode` for a link, a file others can write to, or no Python."""
    if not path.stem.isidentifier():
        raise RefusedCode("the file's name is not a Python identifier")
    content = _read_checked(path)
    try:
        source = importlib.util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise RefusedCode(f"cannot be decoded: {error}") from error
    return UserCode(path, f"{NAMESPACE}.{path.stem}", source, hashlib.sha256(content).hexdigest())


def _read_checked(path: Path) -> bytes:
    """The bytes of a regular file only its owner can change, checked through the open file: it cannot be exchanged
    between the check and the reading."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RefusedCode(f"cannot be opened (symbolic links are not followed): {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RefusedCode("is not a regular file")
        _check_owner(status, path)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_CODE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_CODE_BYTES:
        raise RefusedCode(f"is longer than {MAX_CODE_BYTES} bytes")
    return content


def _check_owner(status: os.stat_result, path: Path) -> None:
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedCode(f"others can write to it; run: chmod go-w {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise RefusedCode(f"belongs to another user (uid {status.st_uid})")


class _Loader(ExecutionLoader):
    """Runs checked text. No bytecode cache: a stale or planted .pyc would run instead of what was checked."""

    def __init__(self, code: UserCode) -> None:
        self.code = code

    def get_source(self, fullname: str) -> str:
        return self.code.source

    def get_filename(self, fullname: str) -> str:
        return str(self.code.path)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.code.source, str(self.code.path))


def import_code(code: UserCode) -> ModuleType:
    """The module of `code`: the loaded one if it was made from the same text, else a fresh one.

    A module that is replaced stays alive for the instances made from it. Raises whatever the code raises.
    """
    present = sys.modules.get(code.module)
    loader = present.__spec__.loader if present is not None and present.__spec__ else None
    if present is not None and isinstance(loader, _Loader) and loader.code == code:
        return present
    spec = importlib.util.spec_from_loader(code.module, _Loader(code), origin=str(code.path))
    if spec is None or spec.loader is None:
        raise ImportError(f"no module can be made of {code.path}")
    module = importlib.util.module_from_spec(spec)
    # pydantic and dataclasses look a class's module up by name while the class is being made.
    sys.modules[code.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[code.module]
        raise
    return module


def remove_file(folder: Path, name: str) -> None:
    """Delete the regular file `name` in `folder`. Raises `RefusedCode` for anything else, links included.

    It works relative to the opened folder, so that nothing outside it can be reached by exchanging names.
    """
    if name != Path(name).name:
        raise RefusedCode("is not inside the user-task folder")
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise RefusedCode(f"the user-task folder cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise RefusedCode("is not a regular file")
        os.unlink(name, dir_fd=directory)
    except OSError as error:
        raise RefusedCode(f"cannot be deleted: {error.strerror}") from error
    finally:
        os.close(directory)
