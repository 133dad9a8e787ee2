"""What is found again of the made-up memories by questions in other words, and the plain way of merging to compare."""

from typing import Any

import numpy as np

from aico_sched.tasks.agency.memory_vectors import MemoryVectors
from tests.integration.memory.remembered import SIZE, Remembered, facts

NOW = "2026-06-01T00:00:00+00:00"

PARAPHRASE = 1.8
"""Deviation of a question from what it asks for, of 1 between things that have nothing to do with one another: it is
put so far away that by no means all is found."""


class Asked(Remembered):
    """The folder with memories, asked."""

    def recall(self, count: int, seed: int, ks: list[int]) -> list[float]:
        """For each k the share of the facts that are among the first k answers to a question for them. Three held-out
        questions for each fact, which no memory was made from; all other facts distract, most of all those with the
        same words and another number or a negation."""
        rows, rng = facts(count, seed), np.random.default_rng(seed + 1_000)
        fact_of = {row["id"]: row["fact"] for row in rows}
        one_of_each = {row["fact"]: row["vector"] for row in rows}
        asked = [(fact, vector) for fact, vector in one_of_each.items() for _ in range(3)]
        questions = np.asarray([vector + rng.normal(size=SIZE) * PARAPHRASE for _, vector in asked], "f4")
        found: list[list[tuple[float, str]]] = [[] for _ in asked]
        for listed in self.client.list_collections():
            if listed.name in ("working_memory", "long_term_memory"):
                collection = self.client.get_collection(listed.name, embedding_function=None)
                answers = collection.query(query_embeddings=questions, n_results=max(ks), include=["distances"])
                for heard, ids, far in zip(found, answers["ids"], answers["distances"], strict=True):
                    heard.extend(zip(far, ids, strict=True))
        ranked = [[fact_of[id_] for _, id_ in sorted(heard)] for heard in found]
        return [sum(fact in heard[:k] for (fact, _), heard in zip(asked, ranked, strict=True)) / len(asked) for k in ks]

    def consolidate(self, path: str, rules: dict[str, Any]) -> int:
        """The task's own merging, of a folder that nobody else has open; how many were taken in."""
        vectors = MemoryVectors(path, "working_memory", "long_term_memory", "memory_archive", rules, NOW)
        return vectors.merge(vectors.plan(20_000)["merge"])

    def clear(self) -> None:
        """Forget everything."""
        for listed in self.client.list_collections():
            self.client.delete_collection(listed.name)

    def merge_by_cosine(self, similarity: float) -> int:
        """The baseline: of all that is as similar the first stays; how many went."""
        collection = self.client.get_collection("working_memory", embedding_function=None)
        rows: Any = collection.get(include=["embeddings"])
        unit = rows["embeddings"] / np.linalg.norm(rows["embeddings"], axis=1, keepdims=True)
        gone: set[int] = set()
        for at in range(len(unit)):
            if at not in gone:
                gone |= {int(n) for n in np.flatnonzero(unit @ unit[at] >= similarity) if n > at}
        collection.delete(ids=[rows["ids"][at] for at in sorted(gone)])
        return len(gone)
