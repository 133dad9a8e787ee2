"""A real ChromaDB folder for the tests, kept in a worker process so that the task finds nobody in its way."""

from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

DIMENSIONS = 32


class Shelf:
    """Makes collections of clustered vectors, as embeddings are, and tells what is in them."""

    def __init__(self, path: str) -> None:
        self.client: Any = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False))

    def fill(self, name: str, count: int, delete: int = 0, seed: int = 1, **hnsw: Any) -> None:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(max(1, count // 50), DIMENSIONS))
        rows = centres[rng.integers(len(centres), size=count)] + 0.4 * rng.normal(size=(count, DIMENSIONS))
        collection = self.client.create_collection(
            name, metadata={"owner": "tests"}, configuration={"hnsw": hnsw}, embedding_function=None
        )
        for start in range(0, count, 1_000):
            numbers = range(start, min(count, start + 1_000))
            collection.add(
                ids=[f"m{number}" for number in numbers],
                embeddings=rows[numbers.start : numbers.stop].astype("f4"),
                documents=[f"memory {number}" for number in numbers],
                metadatas=[{"number": number} for number in numbers],
            )
        for start in range(0, delete, 1_000):
            collection.delete(ids=[f"m{number}" for number in range(start, min(delete, start + 1_000))])

    def names(self) -> list[str]:
        return sorted(collection.name for collection in self.client.list_collections())

    def look(self, name: str) -> dict[str, Any]:
        """Everything in a collection by id, embeddings as a sum, and its settings."""
        collection = self.client.get_collection(name, embedding_function=None)
        found = collection.get(include=["embeddings", "documents", "metadatas"])
        rows = zip(found["embeddings"], found["documents"], found["metadatas"], strict=True)
        return {
            "rows": {
                id_: [round(float(vector.sum()), 3), document, metadata]
                for id_, (vector, document, metadata) in zip(found["ids"], rows, strict=True)
            },
            "metadata": collection.metadata,
            "space": collection.configuration["hnsw"]["space"],
        }

    def rename(self, name: str, to: str) -> None:
        self.client.get_collection(name, embedding_function=None).modify(name=to)
