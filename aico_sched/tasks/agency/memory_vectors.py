"""Consolidates a collection of memories in ChromaDB. Runs in a worker process; every step may be killed.

Nothing is deleted before its copy stands in the archive or in the long-term collection, and was read back from there.
"""

from datetime import datetime
from typing import Any

import numpy as np

from aico_sched.data.chroma import PAGE, ChromaFolder, columns
from aico_sched.tasks.agency.consolidation import (
    Memory,
    Rules,
    duplicates,
    importance,
    merged,
    merged_from,
    merged_vector,
    retention,
)

SEPARATOR = "/"
ORIGINAL = "/original"
"""Ends the archived id of a memory that stays, with the vector it had before it took in others."""


class MemoryVectors(ChromaFolder):
    """The steps of the task, on the collections named. `now` is RFC 3339."""

    def __init__(self, path: str, working: str, long_term: str, archive: str, rules: dict[str, Any], now: str) -> None:
        super().__init__(path)
        self._working, self._long_term, self._archive = working, long_term, archive
        self._rules = Rules(**{**rules, "same_keys": tuple(rules["same_keys"])})
        self._now, self._at = datetime.fromisoformat(now), now

    def plan(self, limit: int) -> dict[str, Any]:
        """What is to be done about the oldest `limit` memories: `{count, clusters, merge: [[kept, other, …]],
        promote: [id], archive: [id]}`. Changes nothing. A missing collection counts as empty."""
        if self._working not in self.names():
            return {"count": 0, "clusters": 0, "merge": [], "promote": [], "archive": []}
        memories, vectors = self._all(limit)
        labels = _clusters(vectors)
        groups = duplicates(memories, vectors, labels, self._rules)
        gone = {at for group in groups for at in group[1:]}
        scores = self._scores_after(memories, groups)
        left = [at for at in range(len(memories)) if at not in gone]
        promote = [at for at in left if importance(scores[at]) >= self._rules.promote_from]
        faded = [at for at in left if retention(scores[at], self._rules, self._now) < self._rules.forget_below]
        return {
            "count": len(memories),
            "clusters": len(set(map(int, labels)) - {-1}),
            "merge": [[memories[at].id for at in group] for group in groups],
            "promote": [memories[at].id for at in promote],
            "archive": [memories[at].id for at in faded if at not in set(promote)],
        }

    def _scores_after(self, memories: list[Memory], groups: list[list[int]]) -> list[dict[str, Any]]:
        """Metadata as they will be once the groups are merged."""
        found = [memory.metadata for memory in memories]
        for kept, *others in groups:
            found[kept] = merged(found[kept], [memories[at] for at in others])
        return found

    def _all(self, limit: int) -> tuple[list[Memory], Any]:
        collection = self.collection(self._working)
        memories, vectors = [], []
        for offset in range(0, min(limit, collection.count()), PAGE):
            page = self.rows(collection, offset, min(PAGE, limit - offset))
            for id_, (vector, text, metadata, _) in zip(page["ids"], columns(page), strict=True):
                memories.append(Memory(id_, text or "", dict(metadata or {})))
                vectors.append(vector)
        return memories, np.asarray(vectors, dtype=np.float32)

    def merge(self, groups: list[list[str]]) -> int:
        """Merge groups: the others go to the archive, the kept one takes in their figures and their ids. Returns how
        many were taken in; ids that are no more are passed over."""
        working, done = self.collection(self._working), 0
        for kept, *others in groups:
            rows = self.fetch(working, [kept, *others])
            if kept not in rows:
                continue
            taken = [_memory(id_, rows[id_]) for id_ in others if id_ in rows]
            if not taken:
                continue
            self._archive_rows({m.id: rows[m.id] for m in taken}, reason="merged", merged_into=kept)
            self._take_in(working, _memory(kept, rows[kept]), rows, taken)
            working.delete(ids=[memory.id for memory in taken])
            done += len(taken)
        return done

    def _take_in(self, working: Any, kept: Memory, rows: dict[str, Any], taken: list[Memory]) -> None:
        """Put the kept memory in the middle of all that it stands for; where it was before is archived the first time.
        Vector and metadata change in one write: what was taken in is never weighed twice."""
        vector = np.asarray(rows[kept.id][0], dtype=np.float32)
        others = [(memory, np.asarray(rows[memory.id][0], dtype=np.float32)) for memory in taken]
        middle = merged_vector(kept, vector, others, self._rules.similarity)
        if middle is not vector and not merged_from(kept.metadata):
            self._archive_rows({kept.id: rows[kept.id]}, ORIGINAL, reason="moved", merged_into=kept.id)
        working.update(ids=[kept.id], embeddings=[middle], metadatas=[merged(kept.metadata, taken)])

    def archive(self, ids: list[str]) -> int:
        """Move memories to the archive; how many there were."""
        working = self.collection(self._working)
        rows = self.fetch(working, ids)
        self._archive_rows(rows, reason="faded")
        if rows:
            working.delete(ids=list(rows))
        return len(rows)

    def promote(self, ids: list[str]) -> int:
        """Move memories to the long-term collection; how many there were."""
        working = self.collection(self._working)
        rows = self.fetch(working, ids)
        self._copy(rows, self._long_term, "", {"promoted_at": self._at, "promoted_from": self._working})
        if rows:
            working.delete(ids=list(rows))
        return len(rows)

    def _archive_rows(self, rows: dict[str, Any], suffix: str = "", **why: str) -> None:
        provenance = {"archived_at": self._at, "archived_from": self._working}
        provenance |= {f"archived_{key}" if key == "reason" else key: value for key, value in why.items()}
        self._copy(
            {id_ + suffix: row for id_, row in rows.items()}, self._archive, self._working + SEPARATOR, provenance
        )

    def _copy(self, rows: dict[str, Any], to: str, prefix: str, provenance: dict[str, str]) -> None:
        """Copy and read back. Raises OSError if a copy is not there afterwards: then nothing may be deleted. Another
        memory that once had the same id keeps its place, and this one gets the time to its id."""
        if not rows:
            return
        target = self.like(self.collection(self._working), to)
        there = self.fetch(target, [prefix + id_ for id_ in rows])
        wanted = {}
        for id_, row in rows.items():
            taken = there.get(prefix + id_)
            other = taken is not None and taken[1] != (row[1] or "")
            wanted[prefix + id_ + (f"@{self._at}" if other else "")] = row
        target.upsert(
            ids=list(wanted),
            embeddings=[row[0] for row in wanted.values()],
            documents=[row[1] or "" for row in wanted.values()],
            metadatas=[{**(row[2] or {}), **provenance} for row in wanted.values()],
        )
        found = self.fetch(target, list(wanted))
        lost = [id_ for id_, row in wanted.items() if (found.get(id_) or (None, None))[1] != (row[1] or "")]
        if lost:
            raise OSError(f"{len(lost)} memories could not be read back from {to}, {lost[0]} among them")


def _memory(id_: str, row: Any) -> Memory:
    return Memory(id_, row[1] or "", dict(row[2] or {}))


def _clusters(vectors: Any) -> Any:
    """A label for each vector; -1 for those that are like no other, and for those that have no direction."""
    from sklearn.cluster import HDBSCAN  # noqa: PLC0415

    labels = np.full(len(vectors), -1)
    if not len(vectors):
        return labels
    lengths = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(lengths) & (lengths > 1e-12)
    if usable.sum() < 3:
        labels[usable] = 0
        return labels
    unit = vectors[usable] / lengths[usable, None]
    for one_for_all in (False, True):
        clusters = HDBSCAN(min_cluster_size=2, min_samples=1, copy=True, allow_single_cluster=one_for_all)
        labels[usable] = clusters.fit_predict(unit)
        # Where all say the same there is nothing else that they could be told from: the first way finds none.
        if (labels >= 0).any():
            break
    return labels
