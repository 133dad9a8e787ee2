"""The few system calls Python has no function for, through ctypes. Linux only; elsewhere `available` is false."""

import ctypes
import os
import platform
import sys
from typing import Final

available: Final = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
"""Whether the numbers of system calls used here are this machine's."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG: Final = 1
PR_SET_KEEPCAPS: Final = 8
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWNET: Final = 0x4000_0000
CAP_DAC_READ_SEARCH: Final = 2
_CAPABILITY_VERSION_3: Final = 0x2008_0522


def prctl(option: int, *arguments: object) -> None:
    """`prctl(2)`. Raises OSError."""
    # A variadic function takes what it is given for what it expects: numbers in full width, and none left out.
    given = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    _checked(int(_LIBC.prctl(ctypes.c_int(option), *given)))


def syscall(number: int, *arguments: object) -> int:
    """The system call `number`. Raises OSError."""
    return _checked(int(_LIBC.syscall(ctypes.c_long(number), *arguments)))


def unshare(flags: int) -> None:
    """`unshare(2)`. Raises OSError."""
    _checked(int(_LIBC.unshare(ctypes.c_int(flags))))


def keep_only(capabilities: int) -> None:
    """Make `capabilities` (a bit mask of the first 32) the effective and permitted ones. Raises OSError."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    header = Header(_CAPABILITY_VERSION_3, 0)
    data = (Data * 2)(Data(capabilities, capabilities, 0), Data(0, 0, 0))
    _checked(int(_LIBC.capset(ctypes.byref(header), ctypes.byref(data))))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
