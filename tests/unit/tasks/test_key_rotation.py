"""Which keys `security.key_rotation` rotates, without a bus."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks.maintenance.health_check import _key_ages
from aico_sched.tasks.maintenance.key_rotation import KeyRotation
from aico_sched.tasks.session_keys import SessionKey
from aico_sched.testing import run_task

SLOT = datetime(2026, 3, 1, 1, tzinfo=UTC)


class Keys:
    """Keys in memory; `gone` are revoked before their turn comes."""

    def __init__(self, **created: float) -> None:
        self.keys = {name: SessionKey(name, "observer", SLOT.timestamp() + age) for name, age in created.items()}
        self.rotated: list[tuple[str, float | None]] = []
        self.gone: set[str] = set()
        self.fail_at: str | None = None

    async def current(self) -> list[SessionKey]:
        return list(self.keys.values())

    async def rotate(self, name: str, overlap: float | None) -> bool:
        if name == self.fail_at:
            self.fail_at = None
            raise OSError("no space left on device")
        if name in self.gone:
            return False
        self.rotated.append((name, overlap))
        self.keys[name] = SessionKey(name, "observer", SLOT.timestamp() + 30)
        return True


async def ran(keys: Keys | None, **config: Any) -> Any:
    return await run_task(KeyRotation, config, scheduled_for=SLOT, session_keys=keys)


async def test_a_retry_goes_on_where_the_attempt_before_it_failed() -> None:
    keys = Keys(ann=-9e6, bob=-9e6, cid=-9e6)
    keys.fail_at = "bob"
    assert isinstance((await ran(keys)).error, OSError)
    done = await ran(keys)
    assert done.result.data["rotated"] == ["bob", "cid"]
    assert keys.rotated == [("ann", None), ("bob", None), ("cid", None)]
    assert [report["message"] for report in done.progress][-1] == "done"


async def test_a_key_that_is_younger_than_the_slot_stays_and_so_does_one_that_shall() -> None:
    keys = Keys(ann=-9e6, new=5.0, far=-9e6)
    await ran(keys, keep_keys=["far"], overlap_days=2)
    assert keys.rotated == [("ann", 2 * 86_400)]


async def test_who_was_revoked_meanwhile_is_no_error() -> None:
    keys = Keys(ann=-9e6, bob=-9e6)
    keys.gone = {"ann"}
    assert (await ran(keys)).result.data["rotated"] == ["bob"]


@pytest.mark.parametrize("config", [{}, {"rotate_session_keys": False}])
async def test_where_there_is_nothing_to_rotate_the_run_is_skipped(config: dict[str, Any]) -> None:
    assert (await ran(None, **config)).result.skipped


async def test_a_task_of_a_user_gets_no_keys() -> None:
    keys = Keys(ann=-9e6)
    done = await run_task(KeyRotation, task_id="user.keys", scheduled_for=SLOT, session_keys=keys)
    assert isinstance(done.error, PermissionError)
    assert (keys.rotated, done.refused) == ([], ["rotate the keys of the bus"])


def test_the_health_check_asks_nobody_to_rotate_what_was_rotated(tmp_path: Path) -> None:
    for name in ("database.key", "clients/bob.key", "retired/database-until-1.key", "superseded/bob.1.key",
                 "revoked/eve.key", "signing/revoked/eve.key"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert _key_ages(tmp_path, 0.0).keys() == {"database.key", "clients/bob.key"}
