"""ChromaDB folders for the tasks that work on one: a collection full of holes, and memories said three times."""

from datetime import datetime, timedelta

import numpy as np

from tests.integration.vectors.shelf import Shelf

SAID = ("{}", "{}.", "{}!")
IMPORTANT, FADED = "The door code changed", "It rained"


def memories(count: int) -> dict[str, str]:
    """The text of each memory by its id: `count` facts, each said in three ways, and two more."""
    found = {f"m{fact}-{way}": said.format(_fact(fact)) for fact in range(count) for way, said in enumerate(SAID)}
    return {**found, "important": IMPORTANT, "faded": FADED}


def _fact(number: int) -> str:
    return f"The user likes the {number}th of all teas"


class Shelves(Shelf):
    """What the tests do with such a folder, in a process of its own."""

    def remember(self, count: int, now: str) -> None:
        """Put `memories` into the working memory, as they would be at `now`."""
        texts, rng = memories(count), np.random.default_rng(1)
        centres = rng.normal(size=(count + 2, 32))
        fresh = (datetime.fromisoformat(now) - timedelta(days=1)).isoformat()
        old = (datetime.fromisoformat(now) - timedelta(days=400)).isoformat()
        collection = self.client.create_collection("working_memory", embedding_function=None)
        collection.add(
            ids=list(texts),
            embeddings=[
                (centres[at // len(SAID) if at < count * len(SAID) else at - count * 2] + 0.001 * at).astype("f4")
                for at in range(len(texts))
            ],
            documents=list(texts.values()),
            metadatas=[
                {
                    "importance": 1.0 if id_ == "important" else 0.5,
                    "access_count": 40 if id_ == "important" else 1,
                    "timestamp": old if id_ == "faded" else fresh,
                }
                for id_ in texts
            ],
        )

    def texts(self) -> dict[str, dict[str, str]]:
        """By collection and id."""
        found = {}
        for name in self.names():
            rows = self.client.get_collection(name, embedding_function=None).get(include=["documents"])
            found[name] = dict(zip(rows["ids"], rows["documents"], strict=True))
        return found
