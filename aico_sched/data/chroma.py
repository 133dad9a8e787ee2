"""A ChromaDB folder, opened in a worker process and by nobody else: it is not safe from two processes at once, and its
import and its index hold the GIL for longer than the event loop may stand still."""

import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

INTERNAL = "aico-sched."
"""Collections whose names begin so are ours and not finished."""

PAGE = 1_000
"""Rows of one read or write; ChromaDB takes at most 5,461."""

DATABASE = "chroma.sqlite3"
"""The file by which a ChromaDB folder is known."""

_SEGMENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EVERYTHING = ["embeddings", "documents", "metadatas", "uris"]
_HNSW = ("space", "ef_construction", "ef_search", "max_neighbors", "resize_factor", "sync_threshold")


class FolderInUse(Exception):
    """Another process has the folder open; both writing to it would ruin its index."""


class ChromaFolder:
    """The client of a ChromaDB folder, and what is known of its collections' index files.

    Raises FileNotFoundError where there is no such folder, `FolderInUse` while another process uses it.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if not (self.path / DATABASE).is_file():
            raise FileNotFoundError(f"there is no ChromaDB at {path}")
        self._lock = _lock(self.path)
        _check_unused(self.path)
        import chromadb  # noqa: PLC0415

        settings = chromadb.config.Settings(anonymized_telemetry=False)
        self.client: Any = chromadb.PersistentClient(path, settings=settings)

    def names(self) -> list[str]:
        """Every collection, by name."""
        return sorted(collection.name for collection in self.client.list_collections())

    def collection(self, name: str) -> Any:
        """A collection, its own embedding function left alone: nothing is ever embedded here."""
        return self.client.get_collection(name, embedding_function=None)

    def like(self, model: Any, name: str, **hnsw: int) -> Any:
        """The collection `name`, made with the metadata and the index parameters of `model` if it is not there;
        `hnsw` overrides some of the parameters."""
        if name in self.names():
            return self.collection(name)
        configuration = dict(model.configuration)
        known = {key: value for key, value in configuration["hnsw"].items() if key in _HNSW}
        configuration["hnsw"] = known | hnsw
        return self.client.create_collection(
            name, metadata=model.metadata, configuration=configuration, embedding_function=None
        )

    def rows(self, collection: Any, offset: int, limit: int = PAGE) -> dict[str, Any]:
        """A page of everything a collection holds; pages in the order of insertion."""
        page: dict[str, Any] = collection.get(limit=limit, offset=offset, include=_EVERYTHING)
        return page

    def fetch(self, collection: Any, ids: list[str]) -> dict[str, Any]:
        """Those of the rows that are there, by id; each `(embedding, document, metadata, uri)`."""
        found = collection.get(ids=ids, include=_EVERYTHING) if ids else {"ids": []}
        return dict(zip(found["ids"], columns(found), strict=True))

    def put(self, collection: Any, page: dict[str, Any]) -> None:
        """Write a page as `rows` gives it."""
        if page["ids"]:
            given = {name: page.get(name) for name in _EVERYTHING if page.get(name) is not None}
            collection.upsert(ids=page["ids"], **given)

    def fragmentation(self, collection: Any) -> float:
        """The share of the index that belongs to rows which are no more, 0 to 1: deleting never shrinks it."""
        held = self._index_length(collection)
        return max(0.0, 1.0 - collection.count() / held) if held else 0.0

    def _index_length(self, collection: Any) -> int:
        """Rows the index on the disk has room for, in use or not."""
        segments = self._query("SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'", str(collection.id))
        lengths = [self.path / segment / "length.bin" for segment in segments]
        return sum(path.stat().st_size // 4 for path in lengths if path.is_file())

    def remove_orphans(self) -> int:
        """Delete the index folders of collections that are no more; how many there were."""
        known = set(self._query("SELECT id FROM segments"))
        orphans = [
            folder
            for folder in self.path.iterdir()
            if folder.is_dir() and _SEGMENT.fullmatch(folder.name) and folder.name not in known
        ]
        for folder in orphans:
            shutil.rmtree(folder)
        return len(orphans)

    def _query(self, sql: str, *parameters: str) -> list[str]:
        connection = sqlite3.connect(f"file:{self.path / DATABASE}?mode=ro", uri=True)
        try:
            return [row[0] for row in connection.execute(sql, parameters)]
        finally:
            connection.close()

    def bytes(self) -> int:
        """Bytes of the folder."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())


def columns(page: dict[str, Any]) -> Iterator[tuple[Any, Any, Any, Any]]:
    """The rows of a page without their ids: embedding, document, metadata, uri."""
    count = len(page["ids"])
    parts = (page.get(name) for name in _EVERYTHING)
    return zip(*([None] * count if part is None else part for part in parts), strict=True)


def _lock(path: Path) -> int:
    """Keeps our own tasks from one another; freed with the process."""
    descriptor = os.open(path / ".aico-sched.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise FolderInUse(f"another task is at work on {path}") from error
    return descriptor


def _check_unused(path: Path) -> None:
    """Raises `FolderInUse` if a process of anybody we may look at has the database open."""
    wanted = str((path / DATABASE).resolve())
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if any(file.path.startswith(wanted) for file in process.open_files()):
                raise FolderInUse(f"{path} is open in {process.name()} (process {process.pid})")
        except psutil.Error:
            continue
