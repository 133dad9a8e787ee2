"""Measures and rebuilds the index of a ChromaDB collection. Runs in a worker process; every step may be killed.

A rebuild copies a collection to `aico-sched.new.NAME`, checks the copy row by row and by its answers, and swaps the
names by way of `aico-sched.old.NAME`. What a killed run leaves behind tells how far it was, see `recover`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from aico_sched.data.chroma import INTERNAL, PAGE, ChromaFolder, columns

NEW, OLD = f"{INTERNAL}new.", f"{INTERNAL}old."
CLOSE = 1e-5


class VectorIndex(ChromaFolder):
    """The steps of the task, each a second or so of work for a collection of 50,000."""

    def recover(self) -> list[str]:
        """Finish or clear up what a killed run left; the collections that were mended."""
        names, mended = set(self.names()), []
        for name in sorted(old.removeprefix(OLD) for old in names if old.startswith(OLD)):
            if name not in names and NEW + name in names:
                # The copy was checked before the first of the two renames.
                self.collection(NEW + name).modify(name=name)
            elif name not in names:
                self.collection(OLD + name).modify(name=name)
                mended.append(name)
                continue
            self.client.delete_collection(OLD + name)
            mended.append(name)
        for name in sorted(new.removeprefix(NEW) for new in names if new.startswith(NEW)):
            if name not in names and OLD + name not in names:
                self.client.delete_collection(NEW + name)
        return mended

    def survey(self) -> list[dict[str, Any]]:
        """Each collection: `{name, count, fragmentation, half_copied}`."""
        names = self.names()
        found = [self.collection(name) for name in names if not name.startswith(INTERNAL)]
        return [
            {
                "name": one.name,
                "count": one.count(),
                "fragmentation": self.fragmentation(one),
                "half_copied": NEW + one.name in names,
            }
            for one in found
        ]

    def recall(self, name: str, sample: int, k: int, seed: int) -> float | None:
        """The share of the true `k` nearest neighbours that the index finds, over a sample of the collection's own
        vectors, themselves left out. None for a collection too small to say."""
        collection = self.collection(name)
        count = collection.count()
        if count <= k:
            return None
        chosen = np.sort(np.random.default_rng(seed).choice(count, min(sample, count), replace=False))
        queries, own = self._chosen(collection, chosen)
        truth = self._nearest(collection, queries, own, k)
        answers = collection.query(query_embeddings=queries, n_results=k + 1, include=[])["ids"]
        found = [[id_ for id_ in ids if id_ != me][:k] for ids, me in zip(answers, own, strict=True)]
        hits = sum(len(set(true) & set(got)) for true, got in zip(truth, found, strict=True))
        return hits / (k * len(own))

    def _chosen(self, collection: Any, positions: Any) -> tuple[Any, list[str]]:
        vectors, ids = [], []
        for offset in range(0, int(positions[-1]) + 1, PAGE):
            wanted = positions[(positions >= offset) & (positions < offset + PAGE)] - offset
            if len(wanted):
                page = collection.get(limit=PAGE, offset=offset, include=["embeddings"])
                vectors.append(np.asarray(page["embeddings"], dtype=np.float32)[wanted])
                ids += [page["ids"][position] for position in wanted]
        return np.concatenate(vectors), ids

    def _nearest(self, collection: Any, queries: Any, own: list[str], k: int) -> list[list[str]]:
        """The `k` nearest of all, found by looking at every one, a page in memory at a time."""
        space = collection.configuration["hnsw"]["space"]
        best: list[list[tuple[float, str]]] = [[] for _ in own]
        for offset in range(0, collection.count(), PAGE):
            page = collection.get(limit=PAGE, offset=offset, include=["embeddings"])
            ids = page["ids"]
            far = _distances(space, queries, np.asarray(page["embeddings"], dtype=np.float32))
            nearest = np.argsort(far, axis=1)[:, : k + 1]
            for row, me in enumerate(own):
                near = [(float(far[row, at]), ids[at]) for at in nearest[row] if ids[at] != me]
                best[row] = sorted(best[row] + near)[:k]
        return [[id_ for _, id_ in row] for row in best]

    def copy(self, name: str, offset: int, thorough: bool) -> dict[str, int]:
        """Bring one page of the copy into line with its original: `{rows, changed}`. A page that is right already,
        of a run that was killed, costs two reads. `thorough`: build the index for higher recall."""
        source = self.collection(name)
        hnsw = source.configuration["hnsw"]
        finer = {"ef_search": max(200, hnsw["ef_search"]), "ef_construction": max(200, hnsw["ef_construction"])}
        target = self.like(source, NEW + name, **(finer if thorough else {}))
        page = self.rows(source, offset)
        there = self.fetch(target, page["ids"])
        differs = [
            at
            for at, (id_, row) in enumerate(zip(page["ids"], columns(page), strict=True))
            if not _same(row, there.get(id_))
        ]
        self.put(target, {key: _at(page.get(key), differs) for key in ("ids", "embeddings", *_TEXTS)})
        return {"rows": len(page["ids"]), "changed": len(differs)}

    def prune(self, name: str) -> int:
        """Take out of the copy what the original no longer has; how many rows that were."""
        source, target = self.collection(name), self.collection(NEW + name)
        kept = set(self._ids(source))
        gone = [id_ for id_ in self._ids(target) if id_ not in kept]
        for start in range(0, len(gone), PAGE):
            target.delete(ids=gone[start : start + PAGE])
        return len(gone)

    def _ids(self, collection: Any) -> list[str]:
        ids: list[str] = []
        for offset in range(0, collection.count(), PAGE):
            ids += collection.get(limit=PAGE, offset=offset, include=[])["ids"]
        return ids

    def copy_of(self, name: str) -> str:
        """The name under which the copy can be measured."""
        return NEW + name

    def swap(self, name: str) -> None:
        """Put the checked copy in the original's place. Raises ValueError, changing nothing, if their counts differ."""
        source, target = self.collection(name), self.collection(NEW + name)
        if source.count() != target.count():
            raise ValueError(f"the copy of {name} has {target.count()} rows, not {source.count()}")
        source.modify(name=OLD + name)
        target.modify(name=name)
        self.client.delete_collection(OLD + name)

    def drop_copy(self, name: str) -> None:
        """Give the rebuild up; the original was never touched."""
        self.client.delete_collection(NEW + name)

    def vacuum(self) -> dict[str, int]:
        """Compact the database file, with ChromaDB's own command: `{orphans, bytes}` removed and left, `compacted` 0
        where that command is not installed. The object can be used no more after it."""
        orphans = self.remove_orphans()
        program = Path(sys.executable).parent / "chroma"
        if not program.is_file():
            return {"orphans": orphans, "bytes": self.bytes(), "compacted": 0}
        self.client.clear_system_cache()
        del self.client
        run = subprocess.run(  # noqa: S603
            [program, "vacuum", "--path", self.path, "--force"], capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise OSError(f"chroma vacuum failed: {(run.stderr or run.stdout).strip()[-500:]}")
        return {"orphans": orphans, "bytes": self.bytes(), "compacted": 1}


_TEXTS = ("documents", "metadatas", "uris")


def _at(column: Any, places: list[int]) -> Any:
    return None if column is None else [column[place] for place in places]


def _same(row: tuple[Any, ...], other: tuple[Any, ...] | None) -> bool:
    return other is not None and row[1:] == other[1:] and bool(np.allclose(row[0], other[0], rtol=0, atol=CLOSE))


def _distances(space: str, queries: Any, vectors: Any) -> Any:
    """What ChromaDB would call the distances, as far as their order goes."""
    if space == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    products = queries @ vectors.T
    return -products if space != "l2" else (vectors**2).sum(axis=1)[None, :] - 2 * products
