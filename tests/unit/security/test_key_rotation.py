"""New keys for old names: the old ones are accepted for a while, and a kill anywhere locks nobody out."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aico_sched.security.keys import ADMIN, KeyRing, RevokedKey, UnknownKey

ROOT = Path(__file__).parents[3]
DAY = 86_400.0

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from aico_sched.security.keys import KeyRing

template, action = Path(sys.argv[1]), sys.argv[2]
def armed(at):
    left = [at]
    def arm(owner, name):
        real = getattr(owner, name)
        def step(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(owner, name, step)
    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "fdopen")):
        arm(owner, name)

def act(ring):
    return ring.rotate_server() if action == "server" else ring.rotate("bob", float(action))

at = 0
while True:
    at += 1
    folder = template.with_name(f"killed-{at}")
    shutil.copytree(template, folder)
    child = os.fork()
    if not child:
        ring = KeyRing(folder)
        ring.reload()
        armed(at)
        act(ring)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
print(at)
"""


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def ring(tmp_path: Path, clock: Time) -> KeyRing:
    made = KeyRing(tmp_path / "keys", clock)
    made.ensure()
    made.create("bob", "observer")
    return made


def test_old_and_new_are_the_same_client_until_the_overlap_is_over(ring: KeyRing, clock: Time) -> None:
    old = ring.client("bob")
    new = ring.rotate("bob", 7 * DAY)
    assert new.public != old.public
    assert ring.client("bob") == new
    assert ring.lookup(old.public) == ring.lookup(new.public) == ("bob", "observer")
    clock.now += 7 * DAY - 1
    assert ring.lookup(old.public) == ("bob", "observer")
    assert not ring.expired()
    clock.now += 1
    assert ring.lookup(old.public) is None
    assert ring.expired()
    ring.reload()
    assert not ring.expired()
    assert old.public not in ring.snapshot()
    assert ring.lookup(new.public) == ("bob", "observer")


def test_without_an_overlap_the_old_key_is_refused_at_once(ring: KeyRing) -> None:
    old = ring.client("bob")
    new = ring.rotate("bob", 0)
    assert ring.lookup(old.public) is None
    assert ring.lookup(new.public) == ("bob", "observer")


def test_several_rotations_within_an_overlap(ring: KeyRing, clock: Time) -> None:
    keys = [ring.client("bob")]
    for _ in range(3):
        clock.now += DAY
        keys.append(ring.rotate("bob", 7 * DAY))
    assert [ring.lookup(key.public) for key in keys] == [("bob", "observer")] * 4
    clock.now += 5 * DAY
    assert [ring.lookup(key.public) is not None for key in keys] == [False, True, True, True]
    ring.rotate("bob", 7 * DAY)
    assert len(list((ring.folder / "superseded").iterdir())) == 3


def test_the_list_tells_age_and_state(ring: KeyRing, clock: Time) -> None:
    made, old = clock.now, ring.client("bob")
    clock.now += 30 * DAY
    new = ring.rotate("bob", DAY)
    found = {key.public: key for key in ring.list() if key.name == "bob"}
    assert (found[old.public].created, found[old.public].expires) == (made, clock.now + DAY)
    assert (found[new.public].created, found[new.public].current) == (clock.now, True)
    assert not found[old.public].current
    ring.revoke("bob")
    assert [(key.public, key.revoked) for key in ring.list() if key.name == "bob"] == [(new.public, True)]


def test_a_revocation_takes_the_old_keys_too(ring: KeyRing) -> None:
    old = ring.client("bob")
    ring.rotate("bob", 7 * DAY)
    ring.revoke("bob")
    assert ring.lookup(old.public) is None
    with pytest.raises(RevokedKey):
        ring.rotate("bob", 7 * DAY)
    ring.create("bob", "operator")
    assert ring.lookup(old.public) is None


def test_who_is_not_there_has_no_key_to_rotate(ring: KeyRing) -> None:
    with pytest.raises(UnknownKey):
        ring.rotate("eve", DAY)
    assert [key.name for key in ring.list()] == [ADMIN, "aico-sched", "bob"]


def test_a_change_by_another_process_shows(ring: KeyRing) -> None:
    other = KeyRing(ring.folder)
    other.reload()
    ring.rotate("bob", DAY)
    assert other.changed()
    assert other.client("bob") == ring.client("bob")


def killed_at_each_step(template: Path, action: str) -> list[Path]:
    """A copy of the folder for each step before which the change was killed; the last one is of a change that went
    through."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(template), action], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count = int(json.loads(done.stdout))
    return [template.with_name(f"killed-{at}") for at in range(1, count + 1)]


@pytest.mark.parametrize("overlap", [7 * DAY, 0])
def test_killed_at_any_step_a_rotation_locks_nobody_out(tmp_path: Path, overlap: float) -> None:
    template = KeyRing(tmp_path / "keys")
    template.ensure()
    old = template.create("bob", "observer")
    outcomes = set()
    folders = killed_at_each_step(template.folder, str(overlap))
    for folder in folders:
        clock = Time()
        clock.now = folder.stat().st_mtime
        # As a broker that runs finds the folder, and as one does that is started then.
        for mended in (False, True):
            ring = KeyRing(folder, clock)
            if mended:
                ring.ensure()
            ring.reload()
            given = ring.client("bob")
            assert ring.lookup(given.public) == ("bob", "observer"), folder
            if overlap:
                assert ring.lookup(old.public) == ("bob", "observer"), folder
            assert given.public == ring._by_name["bob"].public or not mended, folder
            # Nor is anybody when the overlap is over.
            clock.now += overlap + DAY
            assert ring.lookup(ring.client("bob").public) == ("bob", "observer"), folder
            clock.now -= overlap + DAY
        outcomes.add(given.public == old.public)
        assert list((folder / "staged").iterdir()) == []
        again = ring.rotate("bob", DAY)
        assert ring.lookup(again.public) == ring.lookup(given.public) == ("bob", "observer")
        shutil.rmtree(folder)
    assert outcomes == {True, False}
    assert len(folders) > 8


def test_killed_at_any_step_the_broker_has_one_key(tmp_path: Path) -> None:
    template = KeyRing(tmp_path / "keys")
    template.ensure()
    old, outcomes = template.server(), set()
    for folder in killed_at_each_step(template.folder, "server"):
        ring = KeyRing(folder)
        ring.ensure()
        outcomes.add(ring.server().public == old.public)
        assert ring.server().public in (folder / "server.key").read_text()
    assert outcomes == {True, False}
