"""The steps of a consolidation, killed between any two writes to ChromaDB. Each life is a process forked from one that
has ChromaDB and HDBSCAN imported, and no folder open."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb  # noqa: F401
import numpy as np
import sklearn.cluster  # noqa: F401

from aico_sched.tasks.agency.memory_vectors import MemoryVectors
from tests.integration.memory.remembered import Remembered

NOW = "2026-06-01T00:00:00+00:00"
RULES = {"similarity": 0.95, "promote_from": 0.75, "forget_below": 0.05, "half_life_days": 14.0, "same_keys": ["who"]}
OLD, NEW = "2025-06-01T00:00:00+00:00", "2026-05-31T00:00:00+00:00"
ROWS = (
    ("a1", 0, "The user likes tea", 0.5, 3, NEW),
    ("a2", 0, "The user likes tea.", 0.4, 2, NEW),
    ("a3", 0, "The user likes tea!", 0.3, 1, NEW),
    ("b", 1, "The door code changed", 1.0, 40, NEW),
    ("c", 2, "It rained", 0.1, 0, OLD),
    ("d", 3, "The user plays chess", 0.4, 1, NEW),
)
WRITES = ("upsert", "update", "delete", "add")


class Dying(MemoryVectors):
    """Is killed when it is about to make its write number `last` + 1."""

    def __init__(self, path: str, last: int) -> None:
        super().__init__(path, "working_memory", "long_term_memory", "memory_archive", RULES, NOW)
        self._left = last

    def collection(self, name: str) -> Any:
        return self._watched(super().collection(name))

    def like(self, model: Any, name: str, **hnsw: int) -> Any:
        return self._watched(super().like(model, name, **hnsw))

    def _watched(self, real: Any) -> Any:
        def attribute(_: Any, name: str) -> Any:
            if name in WRITES:
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._left -= 1
            return getattr(real, name)

        return type("Watched", (), {"__getattr__": attribute})()


class Lives:
    """Makes folders, and lives in them one after the other."""

    def fill(self, path: str) -> None:
        """A folder with `ROWS`."""

        def work() -> None:
            collection = Remembered(path).client.create_collection("working_memory", embedding_function=None)
            axes = np.eye(8, dtype="f4")
            collection.add(
                ids=[row[0] for row in ROWS],
                embeddings=[axes[row[1]] + 0.001 * number for number, row in enumerate(ROWS)],
                documents=[row[2] for row in ROWS],
                metadatas=[{"who": "u", "importance": r[3], "access_count": r[4], "timestamp": r[5]} for r in ROWS],
            )

        _lived(work)

    def say_again(self, path: str, id: str, text: str) -> None:
        """The memory of that id, with other words."""
        (row,) = [row for row in ROWS if row[0] == id]

        def work() -> None:
            collection = Remembered(path).client.get_collection("working_memory", embedding_function=None)
            metadata = {"who": "u", "importance": row[3], "access_count": row[4], "timestamp": row[5]}
            vector = np.eye(8, dtype="f4")[row[1]]
            collection.add(ids=[id], embeddings=[vector], documents=[text], metadatas=[metadata])

        _lived(work)

    def live(self, path: str, last: int) -> bool:
        """A consolidation that ends before its write number `last` + 1; whether it got through."""

        def work() -> None:
            vectors = Dying(path, last)
            plan = vectors.plan(100)
            vectors.merge(plan["merge"])
            vectors.promote(plan["promote"])
            vectors.archive(plan["archive"])

        return _lived(work)

    def held(self, path: str) -> dict[str, dict[str, Any]]:
        """By collection and id: the text and the metadata."""
        answer = Path(path).with_suffix(".json")

        def work() -> None:
            found = {}
            client = Remembered(path).client
            for listed in client.list_collections():
                rows = client.get_collection(listed.name, embedding_function=None).get()
                found[listed.name] = {
                    id_: [text, metadata]
                    for id_, text, metadata in zip(rows["ids"], rows["documents"], rows["metadatas"], strict=True)
                }
            answer.write_text(json.dumps(found))

        assert _lived(work)
        found: dict[str, dict[str, Any]] = json.loads(answer.read_text())
        return found


def _lived(work: Callable[[], None]) -> bool:
    """Whether `work`, in a process of its own, came to its end; False when that was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)
