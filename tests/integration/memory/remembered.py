"""Memories with labels, made by a seeded generator: facts said several times, and sentences that only look alike."""

import random
from datetime import datetime, timedelta
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

SIZE = 48
TEMPLATES = (
    "The user meets {who} at {n} o'clock",
    "The user likes {who} to call at {n}",
    "{who} owes the user {n} euros",
    "The user walked {n} kilometres with {who}",
)
NAMES = ("Ada", "Ben", "Cem", "Dora", "Eli", "Fay", "Gus", "Hana", "Ida", "Jon")


def facts(count: int, seed: int) -> list[dict[str, Any]]:
    """`{id, text, vector, fact, metadata}`. The vector depends on the template and the name, hardly on the number or a
    negation, as sentence embeddings do."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    now = datetime.fromisoformat("2026-06-01T00:00:00+00:00")
    for number in range(count):
        centre = rng.normal(size=SIZE)
        who, template = draw.choice(NAMES), draw.choice(TEMPLATES)
        hour = draw.randint(1, 11)
        variants = [(f"f{number}", hour, "")] * draw.choice((1, 1, 2, 3))
        if draw.random() < 0.4:
            variants.append((f"f{number}-other", hour + 1, ""))
        if draw.random() < 0.2:
            variants.append((f"f{number}-not", hour, "It is not so: "))
        for copy, (fact, n, prefix) in enumerate(variants):
            metadata = {
                "user_uuid": "u1",
                "importance": round(draw.uniform(0.1, 0.9), 2),
                "access_count": draw.randint(0, 12),
                "timestamp": (now - timedelta(days=draw.uniform(0, 60))).isoformat(),
            }
            text = prefix + template.format(who=who, n=n) + ("." if copy % 2 else "")
            vector = centre + rng.normal(size=SIZE) * 0.06
            rows.append({"id": f"m{len(rows)}", "text": text, "fact": fact, "vector": vector, "metadata": metadata})
    return rows


class Remembered:
    """A ChromaDB folder with such memories, in a worker process."""

    def __init__(self, path: str) -> None:
        self.client: Any = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False))

    def fill(self, count: int, seed: int) -> dict[str, str]:
        """The fact of each memory."""
        rows = facts(count, seed)
        collection = self.client.create_collection(
            "working_memory", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        collection.add(
            ids=[row["id"] for row in rows],
            embeddings=[row["vector"].astype("f4") for row in rows],
            documents=[row["text"] for row in rows],
            metadatas=[row["metadata"] for row in rows],
        )
        return {row["id"]: row["fact"] for row in rows}

    def held(self) -> dict[str, dict[str, Any]]:
        """What is in each collection: metadata by id."""
        found = {}
        for listed in self.client.list_collections():
            collection = self.client.get_collection(listed.name, embedding_function=None)
            rows = collection.get(include=["metadatas", "documents"])
            found[listed.name] = dict(zip(rows["ids"], rows["metadatas"], strict=True))
        return found

    def answers(self, count: int, seed: int, k: int = 5) -> float:
        """The share of questions, each near one memory, whose fact is among the first `k` answers of the working and
        the long-term memory together."""
        rows, rng = facts(count, seed), np.random.default_rng(seed + 1)
        fact_of = {row["id"]: row["fact"] for row in rows}
        asked = [row["vector"] + rng.normal(size=SIZE) * 0.06 for row in rows]
        best: list[list[tuple[float, str]]] = [[] for _ in rows]
        for name in ("working_memory", "long_term_memory"):
            if name not in [listed.name for listed in self.client.list_collections()]:
                continue
            collection = self.client.get_collection(name, embedding_function=None)
            found = collection.query(query_embeddings=np.asarray(asked, "f4"), n_results=k, include=["distances"])
            for row, (ids, far) in enumerate(zip(found["ids"], found["distances"], strict=True)):
                best[row] += list(zip(far, ids, strict=True))
        hits = [
            row["fact"] in {fact_of[id_] for _, id_ in sorted(found)[:k]} for row, found in zip(rows, best, strict=True)
        ]
        return sum(hits) / len(hits)
