"""What goes first: an actor's urgent messages before its others, and what these start before the turns of the actors
that are patient."""

import asyncio
from collections import deque

from aico_sched.runtime.actor import Actor
from aico_sched.runtime.parcels import Letter

URGENT_TURNS = 16
"""Turns of urgent messages alone, one after the other, after which the others have theirs."""

PATIENCE = 0.03
"""Seconds by which what is urgent to others puts off each turn of a patient actor, at the most."""


class Hurry:
    """Which actors have something urgent under way, for all actors of a service to see."""

    def __init__(self) -> None:
        self._hurried: set[str] = set()
        self._over = asyncio.Event()

    def begin(self, name: str) -> None:
        """The actor `name` handles urgent messages."""
        self._hurried.add(name)
        self._over.clear()

    def end(self, name: str) -> None:
        """It does not, and what they started has begun."""
        self._hurried.discard(name)
        if not self._hurried:
            self._over.set()

    async def give_way(self) -> None:
        """Wait until nobody has anything urgent, at most for `PATIENCE`."""
        if not self._hurried:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                while self._hurried:
                    await self._over.wait()
        except TimeoutError:
            return


class Urgency:
    """The urgent messages of one actor."""

    def __init__(self, kind: type[Actor], hurry: Hurry) -> None:
        self._kind, self._hurry = kind, hurry
        self._turns = 0
        self._hurried = False

    async def give_way(self) -> None:
        """Before a turn: let others go first, if the actor is patient."""
        if self._kind.patient:
            await self._hurry.give_way()

    def first(self, pending: deque[Letter]) -> int:
        """Move urgent messages to the front; returns how many are to have this turn for themselves, 0 if none."""
        urgent = self._kind.urgent
        first = [message for message in pending if message[0] in urgent] if urgent else []
        self._hurried = bool(first)
        if first:
            self._hurry.begin(self._kind.name)
        if not first or len(first) == len(pending) or self._turns >= URGENT_TURNS:
            self._turns = 0
            return 0
        self._turns += 1
        others = [message for message in pending if message[0] not in urgent]
        pending.clear()
        pending.extend(first)
        pending.extend(others)
        return len(first)

    async def go_on(self) -> bool:
        """After a turn: what came of an urgent message goes on first, who was told has a turn and what that starts
        begins. Returns whether there was one."""
        if not self._hurried:
            return False
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.over()
        return True

    def over(self) -> None:
        """Nothing urgent is under way."""
        if self._hurried:
            self._hurried = False
            self._hurry.end(self._kind.name)
