"""Where the emotion classifier is trained, shown with a stand-in for PyTorch: it is no dependency of ours."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from aico_sched.tasks.agency import emotion_model

CPU = ("cpu weights", "cpu bias")


def stand_in(available: Any) -> ModuleType:
    torch = ModuleType("torch")
    vars(torch)["cuda"] = SimpleNamespace(is_available=available)
    return torch


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that PyTorch was asked to train on; scikit-learn only answers."""
    devices: list[str] = []

    def fit_torch(torch: Any, matrix: Any, targets: Any, classes: int, device: str) -> tuple[str, str]:
        devices.append(device)
        return "gpu weights", "gpu bias"

    monkeypatch.setattr(emotion_model, "fit_torch", fit_torch)
    monkeypatch.setattr(emotion_model, "fit_sklearn", lambda *_: CPU)
    return devices


def test_a_gpu_is_used_where_pytorch_finds_one(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in(lambda: True))
    assert emotion_model._fit(None, None, 3) == ("torch:cuda", "gpu weights", "gpu bias")
    assert asked == ["cuda"]


def broken() -> bool:
    raise RuntimeError("the driver is too old")


@pytest.mark.parametrize("torch", [None, stand_in(lambda: False), stand_in(broken)])
def test_without_one_it_is_the_processor(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], torch: ModuleType | None
) -> None:
    # None makes the import fail.
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert emotion_model._fit(None, None, 3) == ("scikit-learn", *CPU)
    assert asked == []


def test_a_gpu_that_fails_is_replaced_and_the_result_says_so(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setitem(sys.modules, "torch", stand_in(lambda: True))
    monkeypatch.setattr(emotion_model, "fit_torch", full)
    assert emotion_model._fit(None, None, 3) == ("scikit-learn, for the GPU failed", *CPU)
