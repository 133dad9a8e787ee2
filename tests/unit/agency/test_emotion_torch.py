"""The code that trains on a GPU, run against a stand-in for PyTorch: what it minimises and the shapes it hands back are
ours, and are judged by scikit-learn's answer to the same question. Where PyTorch is installed it is asked too, on the
processor; a GPU is not here."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from aico_sched.tasks.agency import emotion_model
from aico_sched.tasks.agency.emotion_model import fit_sklearn, fit_torch


class Array(np.ndarray):
    """The methods of a tensor that are used, on numbers."""

    def square(self) -> Any:
        return np.square(self)

    def backward(self) -> None:
        """Gradients are worked out by the optimiser."""

    def detach(self) -> Any:
        return self

    def cpu(self) -> Any:
        return self

    def numpy(self) -> Any:
        return np.asarray(self)


def array(values: Any) -> Any:
    return np.array(values, dtype=float).view(Array)


class Torch:
    """A module in which tensors are arrays; `devices` are those it was asked to put something on."""

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.float32, self.long = "float32", "long"
        torch = self

        class Linear:
            def __init__(self, inputs: int, outputs: int, device: str) -> None:
                torch.devices.append(device)
                self.weight, self.bias = array(np.full((outputs, inputs), 0.1)), array(np.zeros(outputs))

            def parameters(self) -> Any:
                return [self.weight, self.bias]

            def __call__(self, x: Any) -> Any:
                return x @ self.weight.T + self.bias

        class LBFGS:
            def __init__(self, parameters: Any, max_iter: int, line_search_fn: str) -> None:
                self._parameters, self._iterations = list(parameters), max_iter

            def zero_grad(self) -> None:
                """There are none."""

            def step(self, closure: Any) -> None:
                def value(flat: Any) -> float:
                    start = 0
                    for each in self._parameters:
                        each[...] = flat[start : start + each.size].reshape(each.shape)
                        start += each.size
                    return float(closure())

                first = np.concatenate([np.asarray(each).ravel() for each in self._parameters])
                value(minimize(value, first, method="L-BFGS-B", options={"maxiter": self._iterations}).x)

        def cross_entropy(scores: Any, targets: Any) -> Any:
            shifted = scores - scores.max(axis=1, keepdims=True)
            logged = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            return -logged[np.arange(len(targets)), np.asarray(targets, dtype=int)].mean().view(Array)

        self.nn = SimpleNamespace(Linear=Linear, functional=SimpleNamespace(cross_entropy=cross_entropy))
        self.optim = SimpleNamespace(LBFGS=LBFGS)
        self.cuda = SimpleNamespace(is_available=lambda: True)

    def manual_seed(self, seed: int) -> None:
        """Nothing is drawn here."""

    def tensor(self, values: Any, dtype: str, device: str) -> Any:
        self.devices.append(device)
        return array(values)


def probabilities(matrix: Any, fitted: tuple[Any, Any]) -> Any:
    weights, bias = fitted
    return emotion_model._softmax(matrix @ weights + bias)


MADE: dict[str, Callable[[], Any]] = {"stand-in": Torch}
if find_spec("torch") is not None:
    MADE["PyTorch"] = lambda: import_module("torch")


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("classes", [2, 3])
def test_it_minimises_what_scikit_learn_does_and_hands_back_the_same_shapes(classes: int, made: str) -> None:
    rng = np.random.default_rng(classes)
    targets = np.arange(60) % classes
    matrix = rng.normal(size=(60, 4)) + rng.normal(size=(classes, 4))[targets]
    torch = MADE[made]()
    weights, bias = fit_torch(torch, matrix, targets, classes, "cpu")
    assert weights.shape == (4, classes) and bias.shape == (classes,)
    assert made == "PyTorch" or set(torch.devices) == {"cpu"}
    ours, theirs = probabilities(matrix, (weights, bias)), probabilities(matrix, fit_sklearn(matrix, targets, classes))
    # With two classes scikit-learn has one row of weights, whose penalty is another: only the decisions are the same.
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.95
    if classes > 2:
        assert np.allclose(ours, theirs, atol=0.01)
