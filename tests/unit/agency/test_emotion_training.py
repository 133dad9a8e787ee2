"""`agency.emotion_training`: versions that must beat what is there, and the way back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aico_sched.tasks.agency import emotion_model, extra
from aico_sched.tasks.agency.emotion_model import EmotionModel
from aico_sched.tasks.agency.emotion_training import PROMOTED, EmotionTraining
from aico_sched.testing import MemorySource, TaskRun, run_task

EMOTIONS = ("calm", "calm", "calm", "joy", "anger")
SIZES = {"face": 6, "voice": 4, "text": 8}


def samples(count: int, seed: int, noise: float = 1.5, learnable: bool = True) -> list[dict[str, Any]]:
    """Rows of `emotion_samples`; each lacks a modality now and then. Without `learnable` the labels mean nothing."""
    rng = np.random.default_rng(seed)
    centres = {
        (label, name): np.random.default_rng([ord(label[0]), size]).normal(size=size)
        for label in EMOTIONS
        for name, size in SIZES.items()
    }
    rows = []
    for _ in range(count):
        label = EMOTIONS[rng.integers(len(EMOTIONS))]
        row: dict[str, Any] = {"label": label}
        for name, size in SIZES.items():
            centre = centres[label, name] if learnable else 0.0
            values = (centre + noise * rng.normal(size=size)).round(4).tolist()
            row[name] = json.dumps(values) if rng.random() < 0.8 else None
        rows.append(row)
    return rows


async def train(folder: Path, rows: list[dict[str, Any]], **config: Any) -> TaskRun:
    run = await run_task(
        EmotionTraining, config, data=MemorySource(emotion_samples=rows), data_dir=folder, deadline=120
    )
    assert run.result is not None, run.error
    return run


async def test_only_what_is_better_is_used_and_there_is_a_way_back(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    first = await train(tmp_path, samples(200, 1))
    assert first.result is not None and first.result.data["promoted"], first.result
    assert first.result.data["score"] > first.result.data["baseline"] + 0.1
    assert first.published[0][0] == PROMOTED
    same = await train(tmp_path, samples(200, 1))
    assert same.result is not None and not same.result.data["promoted"]
    assert emotion_model.current_version(folder) == 1
    more = await train(tmp_path, samples(2_000, 1))
    assert more.result is not None and more.result.data["promoted"]
    assert more.result.data["score"] > more.result.data["current"]
    assert emotion_model.current_version(folder) == 3
    dry = await train(tmp_path, samples(3_000, 1), dry_run=True)
    assert dry.result is not None and emotion_model.current_version(folder) == 3
    back = await train(tmp_path, [], rollback=True)
    assert back.result is not None and back.result.data["version"] == 1
    assert emotion_model.current_version(folder) == 1
    none = await train(tmp_path, [], rollback=True)
    assert none.result is not None and none.result.skipped


async def test_noise_is_never_promoted(tmp_path: Path) -> None:
    run = await train(tmp_path, samples(1_500, 2, learnable=False), min_gain=0.05)
    assert run.result is not None and not run.result.data["promoted"]
    assert emotion_model.current_version(tmp_path / "models") is None


async def test_the_model_in_use_answers_from_what_is_there(tmp_path: Path) -> None:
    await train(tmp_path, samples(1_000, 1, noise=0.5))
    model = EmotionModel.current(tmp_path / "models")
    assert model is not None
    right = 0
    asked = samples(100, 99, noise=0.5)
    for row in asked:
        features = {name: json.loads(row[name]) for name in SIZES if row[name]}
        said = model.predict(features)
        assert abs(sum(said.values()) - 1.0) < 1e-9
        right += max(said, key=lambda label: said[label]) == row["label"]
    assert right >= 90
    with pytest.raises(ValueError, match="lengths"):
        model.predict({"face": [1.0]})


async def test_what_cannot_be_used_is_counted_and_too_little_is_skipped(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"label": "joy", "face": "no json", "voice": None, "text": None},
        {"label": "joy", "face": "[NaN]", "voice": None, "text": None},
        {"label": None, "face": "[1]", "voice": None, "text": None},
        {"label": "joy", "face": "[1, 2]", "voice": None, "text": None},
    ]
    good = samples(300, 1)
    empty = sum(not any(row[name] for name in SIZES) for row in good)
    run = await train(tmp_path, good + bad)
    assert run.result is not None and run.result.data["unusable"] == 4 + empty
    few = await train(tmp_path / "few", samples(30, 1))
    assert few.result is not None and few.result.skipped and "100" in few.result.message
    table = await run_task(EmotionTraining, data=MemorySource(), data_dir=tmp_path / "t")
    assert table.result is not None and table.result.skipped and "emotion_samples" in table.result.message


async def test_without_the_extra_it_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda module: None)
    run = await train(tmp_path, samples(300, 1))
    assert run.result is not None and run.result.skipped and "aico-sched[agency]" in run.result.message
