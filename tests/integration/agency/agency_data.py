"""AICO's tables as the agency's tasks read them, in a real encrypted database, from a seeded generator."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import libsql_experimental as libsql

KEY = "0123456789abcdef0123456789abcdef"
SIZES = {"face": 12, "voice": 8, "text": 16}
EMOTIONS = ("calm", "joy", "anger")
TRAITS = {"humor": 0.5, "formality": 0.5, "warmth": 0.6, "curiosity": 0.4, "assertiveness": 0.5}
KINDS = ("joke", "comfort", "question", "advice", "formal_reply", "small_talk")
MONTH = datetime(2026, 5, 1, tzinfo=UTC)

SCHEMA = """
CREATE TABLE emotion_samples (id INTEGER PRIMARY KEY, label TEXT, face TEXT, voice TEXT, text TEXT);
CREATE TABLE personality_traits (id INTEGER PRIMARY KEY, name TEXT, value REAL, baseline REAL, updated_at TEXT);
CREATE TABLE interactions (id INTEGER PRIMARY KEY, timestamp TEXT, kind TEXT, feedback REAL);
CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp TEXT NOT NULL, topic TEXT NOT NULL, source TEXT, payload BLOB);
CREATE TABLE task_executions (id INTEGER PRIMARY KEY, task_id TEXT, status TEXT, started_at TEXT,
    duration_seconds REAL);
"""


def connect(path: Path) -> Any:
    """The database as AICO itself has it open."""
    return libsql.connect(str(path), encryption_key=KEY, isolation_level=None)


def make_database(path: Path, samples: int = 0, interactions: int = 0, hours: int = 0) -> None:
    """`samples` of emotions, `interactions` in May 2026, and activity of an office worker for `hours` from May on."""
    connection = connect(path)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.executescript(SCHEMA)
    connection.execute("BEGIN")
    draw = random.Random(11)
    _insert(connection, "emotion_samples (label, face, voice, text)", emotions(draw, samples))
    traits = [(name, value, value) for name, value in TRAITS.items()]
    _insert(connection, "personality_traits (name, value, baseline)", traits)
    told = [
        (
            (MONTH + timedelta(seconds=draw.randrange(31 * 86_400))).isoformat(),
            kind := draw.choice(KINDS),
            1.0 if kind == "joke" else draw.choice((-0.5, 0.0, 0.5, None)),
        )
        for _ in range(interactions)
    ]
    _insert(connection, "interactions (timestamp, kind, feedback)", told)
    seen = [
        ((MONTH + timedelta(hours=hour, minutes=n)).isoformat(), "conversation.message")
        for hour in range(hours)
        if 8 <= hour % 24 < 18 and (hour // 24) % 7 < 5
        for n in range(0, 60, 10)
    ]
    _insert(connection, "events (timestamp, topic)", seen)
    connection.execute("COMMIT")
    connection.close()


def emotions(draw: random.Random, count: int) -> list[tuple[Any, ...]]:
    """Samples around a centre for each emotion and modality; one in five lacks a modality."""
    centres = {(e, m): [draw.gauss(0, 1) for _ in range(size)] for e in EMOTIONS for m, size in SIZES.items()}
    rows = []
    for _ in range(count):
        label = draw.choice(EMOTIONS)
        found = [
            None if draw.random() < 0.2 else json.dumps([round(c + draw.gauss(0, 1.5), 4) for c in centres[label, m]])
            for m in SIZES
        ]
        rows.append((label, *found))
    return rows


def _insert(connection: Any, into: str, rows: list[tuple[Any, ...]]) -> None:
    for row in rows:
        connection.execute(f"INSERT INTO {into} VALUES ({', '.join('?' * len(row))})", row)
