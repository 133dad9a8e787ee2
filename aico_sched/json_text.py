"""JSON as it stands in database columns."""

import json
from typing import Any

from pydantic_core import from_json, to_json

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def compact(value: Any) -> str:
    """JSON without white space; raises ValueError or TypeError for what JSON cannot say (NaN, bytes …)."""
    return _ENCODER.encode(value)


def compact_plain(value: Any) -> str:
    """As `compact`, ten times as fast, for what is known to be plain data: anything else might pass as something else
    (NaN as null)."""
    return to_json(value).decode()


def decoded(text: str) -> Any:
    """What `compact` wrote."""
    return from_json(text)
