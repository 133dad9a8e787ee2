"""What is found again of the made-up memories by questions in other words, and the plain way of merging to compare."""

from typing import Any

import numpy as np

from aico_sched.tasks.agency.consolidation import Memory, Rules, duplicates, merged_vector
from aico_sched.tasks.agency.memory_vectors import MemoryVectors, _clusters
from tests.integration.memory.remembered import SIZE, Remembered, facts

NOW = "2026-06-01T00:00:00+00:00"

PARAPHRASE = 1.8
"""Deviation of a question from what it asks for, of 1 between things that have nothing to do with one another: it is
put so far away that by no means all is found."""


LOOKED_AT = 20
MEASURES = ("recall@1", "recall@2", "recall@5", "MRR")


def questions_for(rows: list[dict[str, Any]], seed: int) -> tuple[list[str], Any]:
    """Three held-out questions for each fact, which no memory was made from: the facts and the vectors."""
    rng = np.random.default_rng(seed + 1_000)
    one_of_each = {row["fact"]: row["vector"] for row in rows}
    asked = [(fact, vector) for fact, vector in one_of_each.items() for _ in range(3)]
    questions = [vector + rng.normal(size=SIZE) * PARAPHRASE for _, vector in asked]
    return [fact for fact, _ in asked], np.asarray(questions, "f4")


def measures(places: list[int | None]) -> dict[str, float]:
    """`MEASURES` of the places, from 1, at which the right answers were; None where one was not found."""
    count = len(places)
    found = {f"recall@{k}": sum(place is not None and place <= k for place in places) / count for k in (1, 2, 5)}
    return found | {"MRR": sum(1 / place for place in places if place is not None) / count}


class Asked(Remembered):
    """The folder with memories, asked."""

    def quality(self, count: int, seed: int) -> dict[str, float]:
        """`MEASURES` of the answers of working and long-term memory together. All other facts distract, most of all
        those with the same words and another number or a negation."""
        rows = facts(count, seed)
        fact_of = {row["id"]: row["fact"] for row in rows}
        asked, questions = questions_for(rows, seed)
        found: list[list[tuple[float, str]]] = [[] for _ in asked]
        for listed in self.client.list_collections():
            if listed.name in ("working_memory", "long_term_memory"):
                collection = self.client.get_collection(listed.name, embedding_function=None)
                answers = collection.query(query_embeddings=questions, n_results=LOOKED_AT, include=["distances"])
                for heard, ids, far in zip(found, answers["ids"], answers["distances"], strict=True):
                    heard.extend(zip(far, ids, strict=True))
        ranked = [[fact_of[id_] for _, id_ in sorted(heard)[:LOOKED_AT]] for heard in found]
        places = [heard.index(fact) + 1 if fact in heard else None for fact, heard in zip(asked, ranked, strict=True)]
        return measures(places)

    def over(self, count: int, seeds: list[int], rules: dict[str, Any]) -> dict[str, dict[str, float]]:
        """The mean of `MEASURES` over many sets, without ChromaDB: `before`, `merged` as the task does it, and `kept`
        if the kept memory stayed where it was."""
        ways: dict[str, list[dict[str, float]]] = {"before": [], "merged": [], "kept": []}
        for seed in seeds:
            rows = facts(count, seed)
            asked, questions = questions_for(rows, seed)
            vectors = np.asarray([row["vector"] for row in rows], "f4")
            memories = [Memory(row["id"], row["text"], row["metadata"]) for row in rows]
            middle, gone = vectors.copy(), set()
            for kept, *others in duplicates(memories, vectors, _clusters(vectors), Rules(**rules)):
                taken = [(memories[at], vectors[at]) for at in others]
                middle[kept] = merged_vector(memories[kept], vectors[kept], taken, rules["similarity"])
                gone |= set(others)
            left = [at for at in range(len(rows)) if at not in gone]
            for way, stored, at in (
                ("before", vectors, range(len(rows))),
                ("merged", middle, left),
                ("kept", vectors, left),
            ):
                facts_there = np.array([rows[n]["fact"] for n in at])
                unit = stored[list(at)] / np.linalg.norm(stored[list(at)], axis=1, keepdims=True)
                order = np.argsort(-(questions @ unit.T), axis=1)
                first = np.argmax(facts_there[order] == np.array(asked)[:, None], axis=1) + 1
                ways[way].append(measures([int(place) for place in first]))
        return {
            way: {name: float(np.mean([one[name] for one in all_])) for name in MEASURES} for way, all_ in ways.items()
        }

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
