"""Which memories say the same, which matter, and which have faded. Pure, on NumPy arrays."""

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_NEGATIONS: Final = frozenset(
    [
        "no",
        "not",
        "never",
        "none",
        "nobody",
        "nothing",
        "neither",
        "cannot",
        "without",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "aren't",
        "wasn't",
        "won't",
        "can't",
        "nicht",
        "kein",
        "keine",
        "keinen",
        "nie",
        "niemals",
        "ohne",
        "nichts",
    ]
)
MERGED_FROM: Final = "merged_from"
ACCESSES: Final = "access_count"

Metadata = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """`similarity` is the cosine from which on two memories may be one; `half_life_days` is how long a memory that is
    not used takes to fade to half; the two scores run from 0 to 1. `same_keys` are metadata that must be equal."""

    similarity: float
    promote_from: float
    forget_below: float
    half_life_days: float
    same_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory without its vector."""

    id: str
    text: str
    metadata: Metadata


def may_be_one(a: Memory, b: Memory, rules: Rules) -> bool:
    """Whether two memories with nearly the same vector can say the same thing. Embeddings hardly see what turns a
    sentence into another: a number, a negation, whose memory it is."""
    if any(a.metadata.get(key) != b.metadata.get(key) for key in rules.same_keys):
        return False
    return _figures(a.text) == _figures(b.text) and _negations(a.text) == _negations(b.text)


def _figures(text: str) -> list[str]:
    return sorted(_NUMBER.findall(text))


def _negations(text: str) -> int:
    return sum(word in _NEGATIONS for word in _WORD.findall(text.lower().replace("’", "'")))


def duplicates(memories: list[Memory], vectors: Any, labels: Any, rules: Rules) -> list[list[int]]:
    """Groups of positions that are one memory, the one to keep first. Only within a cluster (`labels`, -1 is none).

    Everything in a group is as similar as it must be to the one that is kept, so that no chain of small differences
    joins what differs much.
    """
    groups = []
    for label in sorted({int(label) for label in labels} - {-1}):
        open_ = [int(at) for at in np.flatnonzero(labels == label)]
        open_.sort(key=lambda at: (-importance(memories[at].metadata), -len(memories[at].text), memories[at].id))
        while open_:
            kept, *others = open_
            near = _cosines(vectors[others], vectors[kept]) >= rules.similarity if others else []
            same = [
                at
                for at, is_near in zip(others, near, strict=True)
                if is_near and may_be_one(memories[kept], memories[at], rules)
            ]
            if same:
                groups.append([kept, *same])
            open_ = [at for at in others if at not in set(same)]
    return groups


def importance(metadata: Metadata) -> float:
    """From 0 to 1: what the memory was said to be worth, and how often it was used."""
    said = min(1.0, max(0.0, _number(metadata.get("importance"), 0.5)))
    used = 1.0 - math.exp(-max(0.0, _number(metadata.get(ACCESSES), 0.0)) / 5.0)
    return 0.6 * said + 0.4 * used


def retention(metadata: Metadata, rules: Rules, now: datetime) -> float:
    """What is left of a memory's importance after the time it was not used; 1 half-life leaves half."""
    stamps = [metadata.get(key) for key in ("last_accessed", "timestamp", "created_at")]
    last = next((moment for stamp in stamps if (moment := _moment(stamp)) is not None), now)
    age_days = max(0.0, (now - last).total_seconds() / 86_400)
    return importance(metadata) * float(0.5 ** (age_days / rules.half_life_days))


def merged(kept: Metadata, others: list[Memory]) -> Metadata:
    """The kept memory's metadata with those of others taken in. Taking the same in twice changes nothing."""
    result = dict(kept)
    origins = merged_from(result)
    for other in others:
        if other.id in origins:
            continue
        origins += [other.id, *merged_from(other.metadata)]
        result[ACCESSES] = int(_number(result.get(ACCESSES), 0)) + int(_number(other.metadata.get(ACCESSES), 0))
        result["importance"] = max(
            _number(result.get("importance"), 0.5), _number(other.metadata.get("importance"), 0.5)
        )
        mine, theirs = (_moment(one.get("last_accessed")) for one in (result, other.metadata))
        if theirs is not None and (mine is None or theirs > mine):
            result["last_accessed"] = other.metadata["last_accessed"]
    result[MERGED_FROM] = json.dumps(sorted(set(origins)))
    return result


def merged_from(metadata: Metadata) -> list[str]:
    """The ids of the memories that this one has taken in; none where somebody else's words stand there."""
    try:
        found = json.loads(metadata.get(MERGED_FROM) or "[]")
    except (TypeError, ValueError):
        return []
    return [id_ for id_ in found if isinstance(id_, str)] if isinstance(found, list) else []


def merged_vector(kept: Memory, vector: Any, others: list[tuple[Memory, Any]], similarity: float) -> Any:
    """The middle of a kept memory's vector and those it takes in now, each counting for all that it stands for.

    What was said in other words is found by the middle as well as by the nearest of all that were merged, which any
    single one of them is not. It stays where it is if the middle is further than `similarity` from one of them, so
    that a run that was killed finds them alike again.
    """
    origins = merged_from(kept.metadata)
    parts = [(1 + len(origins), vector)]
    parts += [(1 + len(merged_from(m.metadata)), other) for m, other in others if m.id not in origins]
    if len(parts) == 1:
        return vector
    stacked = np.asarray([part for _, part in parts], dtype=np.float64)
    middle = np.average(stacked, axis=0, weights=[weight for weight, _ in parts])
    return middle.astype(np.float32) if _cosines(stacked, middle).min() >= similarity else vector


def _cosines(vectors: Any, one: Any) -> Any:
    return vectors @ one / np.maximum(np.linalg.norm(vectors, axis=1) * np.linalg.norm(one), 1e-12)


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else default


def _moment(stamp: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
