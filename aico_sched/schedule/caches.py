"""Bounded least-recently-used caches whose counters can be seen and whose size can be set."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Generic, ParamSpec, TypedDict, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_SIZE: Final = 4096


class CacheStats(TypedDict):
    """Counters since the cache was made or resized; `size` and `maxsize` in entries."""

    hits: int
    misses: int
    size: int
    maxsize: int


class SizedCache(Generic[P, R]):
    """Remembers the results of a pure function; errors are not remembered.

    `get` is called like the function. It is an attribute, so that a hit costs no Python frame.
    """

    __slots__ = ("_function", "get", "stats")

    get: Callable[P, R]
    stats: Callable[[], CacheStats]

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        self.resize(DEFAULT_SIZE)

    def resize(self, size: int) -> None:
        """Start again, empty, with room for `size` results; 0 switches the cache off."""
        cached = lru_cache(maxsize=size)(self._function)

        def stats() -> CacheStats:
            info = cached.cache_info()
            return CacheStats(hits=info.hits, misses=info.misses, size=info.currsize, maxsize=size)

        self.get = cached
        self.stats = stats
