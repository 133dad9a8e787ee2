"""What a hostile task tries, each bounded so that a sandbox that fails harms nobody.

As a program: `python -m tests.integration.execution.escapes FOLDER` runs all of it and prints what became of each as
JSON. Run by the tests as root and as an ordinary user.
"""

import asyncio
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from aico_sched.execution.environments import RemoteFailure
from aico_sched.execution.sandbox.policy import Limits
from tests.integration.execution.support import HEAD, RULES, bench

TRIES = """
outside = Path(context.config.outside)
own = context.data_dir
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def listening(family, kind, address):
    with socket.socket(family, kind) as made:
        made.bind(address)

def connecting(kind):
    with socket.socket(socket.AF_INET, kind) as made:
        made.connect(("127.0.0.1", 9))
        made.send(b"x")

def forking():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

def through(link):
    link.symlink_to(outside / "scheduler.db")
    return link.read_bytes()

def starting():
    import subprocess
    subprocess.run(["/bin/true"])

def shared_memory():
    from multiprocessing import shared_memory
    shared_memory.SharedMemory(create=True, size=1000).unlink()

def raising_limits():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard + 1, hard + 1))

def unchanged(path, change):
    def look():
        found = os.stat(path)
        return found.st_mode, found.st_uid, found.st_mtime_ns
    before = look()
    change(path)
    if look() == before:
        raise PermissionError("nothing has changed")

database = outside / "scheduler.db"
module = Path(sys.modules["aico_sched"].__file__)

def by_descriptor(path):
    with path.open("rb") as file:
        os.fchmod(file.fileno(), 0o400)

x86 = os.uname().machine == "x86_64"

def made_watch():
    made = libc.inotify_init1(0)
    if made < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return made

tries = {
    "read the database": lambda: (outside / "scheduler.db").read_bytes(),
    "read a key": lambda: (outside / "keys" / "database.key").read_text(),
    "read by a link": lambda: through(own / "link"),
    "read by a hard link": lambda: os.link(outside / "scheduler.db", own / "hard"),
    "list the data folder": lambda: os.listdir(outside),
    "list the folder above": lambda: os.listdir(own.parent),
    "read another task's folder": lambda: (own.parent / "user.other" / "x").read_text(),
    "read passwords": lambda: Path("/etc/passwd").read_text(),
    "list the root": lambda: os.listdir("/"),
    "read the service's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "read its own process's files": lambda: os.listdir("/proc/self/fd"),
    "change a mode": lambda: unchanged(database, lambda path: os.chmod(path, 0o444)),
    "change the mode of a folder": lambda: unchanged(outside, lambda path: os.chmod(path, 0o777)),
    "change the mode of code": lambda: unchanged(module, by_descriptor),
    "change times": lambda: unchanged(database, lambda path: os.utime(path, (0, 0))),
    "change times to now": lambda: unchanged(database, os.utime),
    "change an owner": lambda: os.chown(database, os.getuid(), os.getgid()),
    "change an attribute": lambda: os.setxattr(database, "user.x", b"x"),
    "read an attribute": lambda: os.getxattr(database, "user.x"),
    "list attributes": lambda: os.listxattr(database),
    "watch the data folder": lambda: call(254 if x86 else 27, made_watch(), os.fsencode(outside), 0x100),
    "write beside": lambda: (outside / "planted").write_text("x"),
    "write code": lambda: (outside / "tasks" / "planted.py").write_text("x"),
    "write into the package": lambda: (Path(sys.modules["aico_sched"].__file__).parent / "planted").write_text("x"),
    "write to /tmp": lambda: Path("/tmp/aico-sched-planted").write_text("x"),
    "write to /dev/shm": lambda: Path("/dev/shm/aico-sched-planted").write_text("x"),
    "move the folder": lambda: own.rename(own.parent / "elsewhere"),
    "TCP connection": lambda: connecting(socket.SOCK_STREAM),
    "TCP listener": lambda: listening(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
    "UDP": lambda: connecting(socket.SOCK_DGRAM),
    "UDP over IPv6": lambda: listening(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0)),
    "abstract socket": lambda: listening(socket.AF_UNIX, socket.SOCK_STREAM, "\\0aico-sched-planted"),
    "socket in its folder": lambda: listening(socket.AF_UNIX, socket.SOCK_DGRAM, "s"),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "fork": forking,
    "start a program": starting,
    "become a program": lambda: os.execv("/bin/true", ["true"]),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "signal the service": lambda: os.kill(os.getppid(), 0),
    "signal everybody": lambda: os.kill(-1, 0),
    "signal by descriptor": lambda: os.pidfd_open(os.getppid()),
    "become root": lambda: os.setuid(0),
    "own namespaces": lambda: call(272 if x86 else 97, 0x10000000),
    "change the root": lambda: os.chroot(own),
    "mount": lambda: call(165 if x86 else 40, b"none", b"/tmp", b"tmpfs", 0, None),
    "look into the service": lambda: call(101 if x86 else 117, 16, os.getppid(), 0, 0),
    "io_uring": lambda: call(425, 8, ctypes.create_string_buffer(256)),
    "memory in a file": lambda: os.close(os.memfd_create("x")),
    "shared memory": shared_memory,
    "outlive the service": lambda: call(157 if x86 else 167, 1, 0, 0, 0, 0),
    "raise its limits": raising_limits,
    "limit the service": lambda: __import__("resource").prlimit(os.getppid(), 7, (4, 4)),
    "slow the service down": lambda: os.sched_setaffinity(os.getppid(), {0}),
    "system calls of 32 bits": lambda: call(0x40000000 + 39) if x86 else call(1079),
}
found = {}
for name, attempt in tries.items():
    try:
        found[name] = f"ESCAPED: {attempt()!r}"[:200]
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
for name, asking in {
    "publish a command": lambda: context.publish("scheduler.task.delete", {}),
    "ask for the database": lambda: pipe_call("query", "SELECT 1", [], 1),
    "ask for what there is not": lambda: pipe_call("__class__"),
}.items():
    def pipe_call(*arguments):
        ports = context._ports.publish.__closure__
        return next(cell.cell_contents for cell in ports if hasattr(cell.cell_contents, "call")).call(*arguments)
    try:
        found[name] = f"ESCAPED: {await asking()!r}"
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
kept = {}
for number in range(256):
    try:
        kept[number] = __import__("stat").filemode(os.fstat(number).st_mode)[0]
    except OSError:
        pass
return {"tries": found, "environ": dict(os.environ), "descriptors": kept, "uid": os.getuid(), "groups": os.getgroups()}
"""

USES = """
import decimal, json, sqlite3, ssl, tempfile, threading, zoneinfo
own = context.data_dir
(own / "a").mkdir()
(own / "a" / "b").write_text("text")
(own / "a" / "b").rename(own / "c")
(own / "link").symlink_to("c")
with sqlite3.connect(own / "mine.db") as database:
    database.execute("CREATE TABLE t (x)")
with tempfile.TemporaryDirectory() as folder:
    inside = Path(folder).is_relative_to(own)
os.kill(os.getpid(), 0)
import shutil
shutil.copy2(own / "c", own / "copy")
(own / "copy").touch()
(own / "touched").touch()
assert (own / "touched").exists()
shutil.copytree(own / "a", own / "tree")
return {
    "copy": (own / "copy").read_text(),
    "text": (own / "link").read_text(),
    "inside": inside,
    "zone": str(zoneinfo.ZoneInfo("Europe/Berlin")),
    "thread": await asyncio.to_thread(lambda: 42),
    "cwd": os.getcwd() == str(own),
    "home": str(Path.home()) == str(own),
}
"""

ATTACKS = {
    "fork bomb": """
        forks = 0
        for _ in range(2_000):
            try:
                if os.fork() == 0:
                    time.sleep(5)
                    os._exit(0)
                forks += 1
            except OSError as error:
                refused = str(error)
        return {"forks": forks}
        """,
    "thread bomb": """
        import threading
        threading.stack_size(32 * 1024)
        stop = threading.Event()
        started = 0
        try:
            for started in range(2_000):
                threading.Thread(target=stop.wait, daemon=True).start()
        except RuntimeError as error:
            pass
        stop.set()
        return {"threads": started}
        """,
    "memory": "kept = [bytearray(1_000_000) for _ in range(2_000)]\nreturn {'megabytes': len(kept)}",
    "one big file": """
        with open("big", "wb") as file:
            for _ in range(64):
                file.write(bytes(1_000_000))
        return {}
        """,
    "many files": """
        for number in range(20_000):
            Path(f"f{number}").touch()
            time.sleep(0.0005)
        return {}
        """,
    "many big files": """
        for number in range(20):
            Path(f"f{number}").write_bytes(os.urandom(8_000_000))
            time.sleep(0.1)
        return {}
        """,
    "files without a name": """
        kept = []
        for number in range(20):
            kept.append(open(f"f{number}", "wb"))
            kept[-1].write(os.urandom(8_000_000))
            kept[-1].flush()
            os.unlink(f"f{number}")
            time.sleep(0.1)
        return {}
        """,
    "for ever": "while True: pass",
    "in the face of signals": """
        import signal
        for number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        while True: pass
        """,
    "on import": None,
}

ON_IMPORT = """
import os
os.kill(os.getppid(), 9)
"""


async def main(folder: Path) -> dict[str, Any]:
    """What became of each, by name."""
    seen: dict[str, Any] = {}
    outside = folder / "data"
    (outside / "keys").mkdir(parents=True)
    (outside / "keys" / "database.key").write_text("secret")
    (outside / "scheduler.db").write_text("rows")
    config = "class Config(BaseModel):\n        outside: str = ''\n    "
    head = "from pydantic import BaseModel\n" + HEAD.replace("async def", config + "async def")
    async with bench(outside, dataclasses.replace(RULES, limits=Limits(256, 1))) as here:
        (here.data / "user.other").mkdir(parents=True)
        (here.data / "user.other" / "x").write_text("another's")
        job = here.job(TRIES, head=head, config={"outside": str(outside)})
        seen["tries"] = (await here.runner.run(job)).data
        seen["level"] = here.runner.report()["sandbox"]
        seen["uses"] = (await here.run(USES, task_id="user.uses")).data
        for name, body in ATTACKS.items():
            here.usage.clear()
            order = here.job(
                body or "",
                task_id=f"user.{name.replace(' ', '_')}",
                head=HEAD if body else ON_IMPORT + HEAD + "        return {}\n",
            )
            try:
                seen[name] = {"result": (await here.runner.run(order)).data}
            except RemoteFailure as error:
                seen[name] = {"error": error.error_type.rpartition(".")[2], "message": str(error)}
            seen[name]["usage"] = dict(here.usage)
    seen["planted"] = [str(path) for path in folder.rglob("planted*")]
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))), flush=True)
    os._exit(0)
