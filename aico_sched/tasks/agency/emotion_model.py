"""The emotion classifier: features of face, voice and text in, the probability of each emotion out.

A model is plain arrays in an `.npz` file (read without pickle) beside a JSON file that says how good it is. `Trainer`
runs in a worker process.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

MODALITIES: Final = ("face", "voice", "text")
HELD_OUT: Final = 5
"""One sample of so many is held out, by its number: what tested one version never trains a later one."""

_CURRENT = "current.json"
_PENALTY = 1.0

UNREADABLE: Final = (OSError, ValueError, KeyError, BadZipFile)
"""What reading a version may raise."""


@dataclass(frozen=True, slots=True)
class EmotionModel:
    """`sizes` are the features of each modality, `labels` the emotions. A modality that is missing in a sample is
    standardised to zero, and a flag says so."""

    version: int
    sizes: tuple[int, ...]
    labels: tuple[str, ...]
    mean: Any
    scale: Any
    weights: Any
    bias: Any

    def predict(self, features: dict[str, list[float]]) -> dict[str, float]:
        """The probability of each emotion, from the modalities that are there. Raises ValueError for features of
        another length than the model was trained on."""
        matrix = _standard(_matrix([features], self.sizes), self.mean, self.scale)
        return dict(zip(self.labels, map(float, _softmax(matrix @ self.weights + self.bias)[0]), strict=True))

    @classmethod
    def load(cls, folder: Path, version: int) -> "EmotionModel":
        """A version that was kept. Raises OSError or ValueError if it cannot be read."""
        with np.load(_file(folder, version), allow_pickle=False) as kept:
            sizes = tuple(int(size) for size in kept["sizes"])
            labels = tuple(str(label) for label in kept["labels"])
            return cls(version, sizes, labels, kept["mean"], kept["scale"], kept["weights"], kept["bias"])

    @classmethod
    def current(cls, folder: Path) -> "EmotionModel | None":
        """The version in use; None before the first was promoted."""
        version = current_version(folder)
        return None if version is None else cls.load(folder, version)

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Keep it beside the others, whole or not at all."""
        temporary = folder / f"{os.getpid()}.new.npz"
        np.savez(
            temporary,
            sizes=np.array(self.sizes),
            labels=np.array(self.labels),
            mean=self.mean,
            scale=self.scale,
            weights=self.weights,
            bias=self.bias,
        )
        _write(_file(folder, self.version).with_suffix(".json"), about)
        temporary.replace(_file(folder, self.version))


def current_version(folder: Path) -> int | None:
    """The number of the version in use; None where there is none, or the note of it is damaged (`damaged`)."""
    history = _history(folder)
    return history[-1] if history else None


def versions(folder: Path) -> list[int]:
    """Every version kept, the oldest first."""
    return sorted(int(path.stem[1:]) for path in folder.glob("v[0-9]*.npz"))


def damaged(folder: Path) -> list[str]:
    """The names of the files of the version in use that are there and cannot be read: its note, or the model itself."""
    if _noted(folder) is None:
        return [_CURRENT]
    version = current_version(folder)
    if version is None:
        return []
    try:
        EmotionModel.load(folder, version)
    except UNREADABLE:
        return [_file(folder, version).name]
    return []


def tidy(folder: Path, keep: int) -> list[int]:
    """Remove the versions that are neither in use, nor of the newest `keep`, nor of the last `keep` that were in use
    before; and what killed runs have begun. Returns the versions removed."""
    history, there = _history(folder), versions(folder)
    gone = sorted({*there} - {*history[-1:], *_before(folder)[-keep:], *there[-keep:]})
    for version in gone:
        _file(folder, version).unlink(missing_ok=True)
        _file(folder, version).with_suffix(".json").unlink(missing_ok=True)
    for begun in (*folder.glob("*.new"), *folder.glob("*.new.npz")):
        begun.unlink(missing_ok=True)
    return gone


def promote(folder: Path, version: int) -> None:
    """Use this version from now on; the one before it is remembered for `roll_back`. A damaged note is kept aside."""
    if _noted(folder) is None:
        (folder / _CURRENT).replace(folder / f"{_CURRENT}.damaged")
    history = _history(folder)
    _write(folder / _CURRENT, {"version": version, "before": history})


def roll_back(folder: Path) -> int | None:
    """Use the version that was in use before, and return its number; None, and nothing changes, if there is none."""
    before = _before(folder)
    if not before:
        return None
    _write(folder / _CURRENT, {"version": before[-1], "before": before[:-1]})
    return before[-1]


def previous_version(folder: Path) -> int | None:
    """The one that `roll_back` would use."""
    return next(reversed(_before(folder)), None)


def _before(folder: Path) -> list[int]:
    return [version for version in _history(folder)[:-1] if _file(folder, version).is_file()]


def _history(folder: Path) -> list[int]:
    """The versions in use so far, the present one last."""
    return _noted(folder) or []


def _noted(folder: Path) -> list[int] | None:
    """What the note of the versions in use says, empty where there is none yet; None if it is damaged."""
    try:
        kept = json.loads((folder / _CURRENT).read_text())
        return [int(version) for version in (*kept["before"], kept["version"])]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        return None


def _write(path: Path, plain: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.new")
    temporary.write_text(json.dumps(plain, indent=2))
    temporary.replace(path)


def _file(folder: Path, version: int) -> Path:
    return folder / f"v{version:04}.npz"


class Trainer:
    """Gathers samples, then trains a version and measures it against the one in use."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._samples: list[tuple[int, dict[str, list[float]], str]] = []
        self._unusable = 0

    def add(self, rows: list[dict[str, Any]]) -> int:
        """Take in rows of `id`, `label`, and for each modality a JSON list of numbers or None; how many there are."""
        for row in rows:
            try:
                features = {name: [float(x) for x in json.loads(row[name])] for name in MODALITIES if row[name]}
                finite = all(np.isfinite(values).all() for values in features.values())
            except (ValueError, TypeError, OverflowError, RecursionError):
                finite, features = False, {}
            if finite and features and isinstance(row["label"], str) and row["label"]:
                self._samples.append((row["id"], features, row["label"]))
            else:
                self._unusable += 1
        return len(self._samples)

    def train(self, min_samples: int) -> dict[str, Any]:
        """`{version, score, baseline, current, samples, held_out, unusable, backend, damaged}`, the version kept but
        not yet in use; or `{reason}` where there is too little to learn from. Scores are mean recalls over the
        emotions, on samples held out; the baseline always says the most frequent emotion."""
        sizes = tuple(
            max(Counter(len(f[name]) for _, f, _ in self._samples if name in f).items(), key=lambda kv: kv[1])[0]
            if any(name in f for _, f, _ in self._samples)
            else 0
            for name in MODALITIES
        )
        usable = [sample for sample in self._samples if _fits(sample[1], sizes)]
        training = [sample for sample in usable if sample[0] % HELD_OUT]
        testing = [sample for sample in usable if not sample[0] % HELD_OUT]
        labels = sorted({label for _, _, label in training})
        if len(usable) < min_samples or len(labels) < 2 or not testing:
            return {"reason": f"{len(usable)} usable samples of {len(labels)} emotions, {min_samples} and 2 are needed"}
        raw = _matrix([f for _, f, _ in training], sizes)
        mean, scale = _moments(raw)
        targets = np.array([labels.index(label) for _, _, label in training])
        backend, weights, bias = _fit(_standard(raw, mean, scale), targets, len(labels))
        version = max(versions(self._folder), default=0) + 1
        model = EmotionModel(version, sizes, tuple(labels), mean, scale, weights, bias)
        common = Counter(label for _, _, label in training).most_common(1)[0][0]
        truth = [label for _, _, label in testing]
        current = self._in_use()
        about = {
            "version": version,
            "score": _score(model, testing),
            "baseline": _mean_recall(truth, [common] * len(truth)),
            "current": None if current is None else _score(current, testing),
            "samples": len(training),
            "held_out": len(testing),
            "unusable": self._unusable + len(self._samples) - len(usable),
            "backend": backend,
            "damaged": damaged(self._folder),
        }
        model.save(self._folder, about)
        return about

    def _in_use(self) -> EmotionModel | None:
        """None where it cannot be read: whoever wants to use it cannot either."""
        try:
            return EmotionModel.current(self._folder)
        except UNREADABLE:
            return None


def _fits(features: dict[str, list[float]], sizes: tuple[int, ...]) -> bool:
    return all(len(features[name]) == size for name, size in zip(MODALITIES, sizes, strict=True) if name in features)


def _matrix(samples: list[dict[str, list[float]]], sizes: tuple[int, ...]) -> Any:
    """One row a sample: the features, NaN where a modality is missing, and a flag for each."""
    rows = np.full((len(samples), sum(sizes) + len(sizes)), np.nan)
    for at, features in enumerate(samples):
        if not _fits(features, sizes):
            raise ValueError(f"features have the lengths {dict(zip(MODALITIES, sizes, strict=True))}")
        start = 0
        for number, (name, size) in enumerate(zip(MODALITIES, sizes, strict=True)):
            if name in features:
                rows[at, start : start + size] = features[name]
            rows[at, sum(sizes) + number] = float(name in features)
            start += size
    return rows


def _moments(raw: Any) -> tuple[Any, Any]:
    """Mean and deviation of each column, over the samples that have it."""
    there = ~np.isnan(raw)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, raw, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(there, raw - mean, 0.0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > 1e-9, spread, 1.0)


def _standard(raw: Any, mean: Any, scale: Any) -> Any:
    return np.nan_to_num((raw - mean) / scale, nan=0.0)


def _fit(matrix: Any, targets: Any, classes: int) -> tuple[str, Any, Any]:
    """Multinomial logistic regression: on a GPU if PyTorch is there and finds one, else with scikit-learn; so too when
    the GPU fails, which may be for lack of memory."""
    torch = torch_with_gpu()
    if torch is None:
        return ("scikit-learn", *fit_sklearn(matrix, targets, classes))
    try:
        return ("torch:cuda", *fit_torch(torch, matrix, targets, classes, "cuda"))
    except RuntimeError:
        return ("scikit-learn, for the GPU failed", *fit_sklearn(matrix, targets, classes))


def torch_with_gpu() -> Any:
    """PyTorch if it is installed, can be loaded and finds a GPU; else None."""
    try:
        import torch  # noqa: PLC0415

        return torch if torch.cuda.is_available() else None
    except (ImportError, OSError, RuntimeError):
        # The last two: its libraries do not fit the driver, or are not there.
        return None


def fit_sklearn(matrix: Any, targets: Any, classes: int) -> tuple[Any, Any]:
    """On the processor."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    fitted = LogisticRegression(C=1.0 / _PENALTY, max_iter=500).fit(matrix, targets)
    weights, bias = fitted.coef_.T, fitted.intercept_
    if classes == 2:
        weights, bias = np.hstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    return weights, bias


def fit_torch(torch: Any, matrix: Any, targets: Any, classes: int, device: str) -> tuple[Any, Any]:
    """The same model by PyTorch, full batch."""
    torch.manual_seed(0)
    x = torch.tensor(matrix, dtype=torch.float32, device=device)
    y = torch.tensor(targets, dtype=torch.long, device=device)
    layer = torch.nn.Linear(x.shape[1], classes, device=device)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        penalty = 0.5 * _PENALTY * layer.weight.square().sum() / len(y)
        value = torch.nn.functional.cross_entropy(layer(x), y) + penalty
        value.backward()
        return value

    optimiser.step(loss)
    return layer.weight.detach().cpu().numpy().T.astype(float), layer.bias.detach().cpu().numpy().astype(float)


def _softmax(scores: Any) -> Any:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _score(model: EmotionModel, testing: list[tuple[int, dict[str, list[float]], str]]) -> float:
    """0 for a model whose features have changed since: it can say nothing about what is there now."""
    if not all(_fits(features, model.sizes) for _, features, _ in testing):
        return 0.0
    matrix = _standard(_matrix([f for _, f, _ in testing], model.sizes), model.mean, model.scale)
    best = (matrix @ model.weights + model.bias).argmax(axis=1)
    return _mean_recall([label for _, _, label in testing], [model.labels[at] for at in best])


def _mean_recall(truth: list[str], said: list[str]) -> float:
    right = Counter(t for t, s in zip(truth, said, strict=True) if t == s)
    return sum(right[label] / count for label, count in Counter(truth).items()) / len(set(truth))
