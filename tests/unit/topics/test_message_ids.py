"""Ids of messages: in the order of time, and never twice, whoever seeds or forks."""

import os
import random
import uuid

import pytest

from aico_sched.topics.envelope import new_message_id


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1_000):
        made = uuid.UUID(text := new_message_id())
        assert (made.version, made.variant, str(made)) == (7, uuid.RFC_4122, text)


def test_ids_sort_by_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for second in range(1_000):
        monkeypatch.setattr("time.time_ns", lambda second=second: (1_700_000_000 + 86_400 * second) * 10**9)
        made.append(new_message_id())
    assert made == sorted(made)


def test_a_seed_of_somebody_brings_no_id_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000 * 10**9)
    made = set()
    for _ in range(100):
        random.seed(1)
        made.add(new_message_id())
    assert len(made) == 100


def test_a_forked_process_makes_ids_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000 * 10**9)
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(start, new_message_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(end, 100).decode()
    os.close(end)
    os.close(start)
    assert theirs != new_message_id()
