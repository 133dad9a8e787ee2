"""JSON as it stands in database columns."""

import json
from typing import Any


def compact(value: Any) -> str:
    """JSON without white space; raises ValueError or TypeError for what JSON cannot say (NaN, bytes …)."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def decoded(text: str) -> Any:
    """What `compact` wrote."""
    return json.loads(text)
