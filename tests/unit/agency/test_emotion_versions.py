"""What is kept of the versions of the emotion model, and what is said of files that are damaged."""

from pathlib import Path

import numpy as np
import pytest

from aico_sched.tasks.agency import emotion_model
from aico_sched.tasks.agency.emotion_model import EmotionModel
from tests.unit.agency.test_emotion_training import samples, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def keep(folder: Path, *versions: int) -> None:
    """Models that know two emotions by one feature of the voice."""
    for version in versions:
        zeros = np.zeros(4)
        model = EmotionModel(version, (0, 1, 0), ("calm", "joy"), zeros, zeros + 1, np.zeros((4, 2)), np.zeros(2))
        model.save(folder, {"version": version})


def test_versions_that_nobody_uses_do_not_pile_up(folder: Path) -> None:
    keep(folder, *range(1, 8))
    for version in (1, 2, 3):
        emotion_model.promote(folder, version)
    (folder / "99.new.npz").write_bytes(b"of a run that was killed")
    (folder / "v0001.99.new").write_text("and another")
    assert emotion_model.tidy(folder, 2) == [4, 5]
    # The one in use stays however old it is, and the way back from it.
    assert emotion_model.versions(folder) == [1, 2, 3, 6, 7] and emotion_model.current_version(folder) == 3
    assert emotion_model.tidy(folder, 1) == [1, 6]
    names = {path.name for path in folder.iterdir()}
    assert names == {"current.json", *(f"v000{n}.{end}" for n in (2, 3, 7) for end in ("npz", "json"))}
    assert emotion_model.roll_back(folder) == 2 and emotion_model.roll_back(folder) is None
    assert emotion_model.tidy(folder, 1) == [3]


@pytest.mark.parametrize(
    ("name", "content"), [("current.json", b"{ cut short"), ("v0001.npz", b"PK"), ("v0001.npz", None)]
)
def test_a_damaged_file_is_found(folder: Path, name: str, content: bytes | None) -> None:
    keep(folder, 1)
    emotion_model.promote(folder, 1)
    assert emotion_model.damaged(folder) == []
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert emotion_model.damaged(folder) == [name]


async def test_it_is_told_of_and_the_next_version_takes_its_place(folder: Path, tmp_path: Path) -> None:
    keep(folder, 1, 2, 3)
    (folder / "current.json").write_bytes(b"{ cut short")
    run = await train(tmp_path, samples(200, 1), keep_versions=2)
    assert run.result is not None and run.result.data["damaged"] == ["current.json"] and run.result.data["promoted"]
    assert "current.json is damaged" in run.result.message and run.result.data["removed"] == [1, 2]
    assert [line["message"] for line in run.logs if line["level"] == "warning"] == ["emotion_model_damaged"]
    assert emotion_model.current_version(folder) == 4 and not emotion_model.damaged(folder)
    assert (folder / "current.json.damaged").read_bytes() == b"{ cut short"


async def test_a_way_back_that_is_not_known_is_no_lack_of_one(folder: Path, tmp_path: Path) -> None:
    keep(folder, 1)
    (folder / "current.json").write_text("[]")
    for dry in (True, False):
        run = await train(tmp_path, [], rollback=True, dry_run=dry)
        assert run.result is not None and not run.result.success and "current.json is damaged" in run.result.message
    assert (folder / "current.json").read_text() == "[]"
