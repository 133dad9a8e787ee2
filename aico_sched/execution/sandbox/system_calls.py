"""A filter of system calls (seccomp), for what Landlock lets through: other processes, UDP, shared memory, io_uring,
modes and owners of files.

Needs no privileges but no-new-privileges. Numbers from the kernel's `unistd` headers.
"""

import ctypes
import errno
import os
import platform
from typing import Final

from aico_sched.execution.sandbox import libc

# name: (x86_64, aarch64); None where the architecture has no such call.
_REFUSED: Final[dict[str, tuple[int | None, int | None]]] = {
    # New programs and processes. Threads are made by `clone` and are let through below.
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # Other processes: their memory, their priority, signals.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # Memory that outlives the process or is counted nowhere, and queues to others.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # Ways around this filter and around Landlock.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "seccomp": (317, 277),
    "personality": (135, 92),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Owners, attributes and times of any file of the same user; `utimensat` has its own rule.
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    # What happens to files anywhere: Landlock does not ask who watches.
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
    # The machine.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
_PRETENDED: Final[dict[str, tuple[int | None, int | None]]] = {
    # Modes of any file of the same user. A filter does not see which file is meant, and whoever copies one sets its
    # mode: so it seems to work, and changes nothing.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
}
_UNSUPPORTED: Final[dict[str, tuple[int | None, int | None]]] = {
    # Attributes of files that may not be read. Whoever copies a file takes this answer for one of the file system's.
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "fgetxattr": (193, 10),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "flistxattr": (196, 13),
    "getxattrat": (464, 464),
    "listxattrat": (465, 465),
}
_CLONE, _CLONE3, _SOCKET, _UTIMENSAT = (56, 220), (435, 435), (41, 198), (280, 88)
_KILL, _TGKILL, _PRLIMIT, _PRCTL = (62, 129), (234, 131), (302, 261), (157, 167)

_ARCHITECTURE: Final = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}
_X32: Final = 0x4000_0000
_CLONE_THREAD: Final = 0x0001_0000
_INET, _INET6 = 2, 10

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERROR = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_NUMBER, _ARCH, _ARGUMENT, _THIRD = 0, 4, 16, 32
_MODE_FILTER: Final = 2

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def program(machine: str, pid: int, *, network: bool) -> list[Instruction]:
    """The filter for `machine` (as `platform.machine()` names it) and the process `pid`."""
    column, architecture = _ARCHITECTURE[machine]
    steps: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        _refuse(errno.ENOSYS),
    ]
    for table, answer in ((_REFUSED, errno.EPERM), (_PRETENDED, 0), (_UNSUPPORTED, errno.ENOTSUP)):
        for numbers in table.values():
            number = numbers[column]
            if number is not None:
                steps += [(_EQUAL, 0, 1, number), _refuse(answer)]
    # The C library falls back to `clone`, whose flags a filter can see.
    steps += [(_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS)]
    steps += _if(_CLONE[column], [(_LOAD, 0, 0, _ARGUMENT), (_HAS_BITS, 0, 1, _CLONE_THREAD), _allow()])
    steps += _if(_UTIMENSAT[column], _unless_now())
    for numbers in (_KILL, _TGKILL):
        steps += _only(numbers[column], {pid})
    steps += _only(_PRLIMIT[column], {0, pid})
    refuse_option = [(_LOAD, 0, 0, _ARGUMENT), (_EQUAL, 1, 0, libc.PR_SET_PDEATHSIG), _allow()]
    steps += _if(_PRCTL[column], refuse_option)
    steps += _only(_SOCKET[column], {_INET, _INET6} if network else set(), errno.EACCES)
    return [*steps, _allow()]


def restrict(*, network: bool) -> None:
    """Put the filter in force in this process, for good. Raises OSError."""
    steps = program(platform.machine(), os.getpid(), network=network)
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    whole = _Program(len(steps), instructions)
    libc.prctl(libc.PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(whole))


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def _refuse(number: int) -> Instruction:
    """With that error; with 0 the caller believes that it was done."""
    return (_RETURN, 0, 0, _ERROR | number)


def _if(number: int, body: list[Instruction], otherwise: int = errno.EPERM) -> list[Instruction]:
    """For the call `number`: `body`, then refusal. Nothing after it is reached with another value loaded."""
    body = [*body, _refuse(otherwise)]
    return [(_EQUAL, 0, len(body), number), *body]


def _unless_now() -> list[Instruction]:
    """To set times, as whoever copies a file does, seems to work. The present time, which has no third argument, is
    refused: `Path.touch` tries it to see whether there is a file to be made."""
    return [(_LOAD, 0, 0, _THIRD), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, _THIRD + 4), (_EQUAL, 1, 0, 0), _refuse(0)]


def _only(number: int, first: set[int], otherwise: int = errno.EPERM) -> list[Instruction]:
    """Let the call `number` through if its first argument is one of `first`."""
    body: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENT)]
    for value in sorted(first):
        body += [(_EQUAL, 0, 1, value), _allow()]
    return _if(number, body, otherwise)
