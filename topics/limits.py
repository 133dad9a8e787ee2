"""Every size limit of the contract, in one place.

They are enforced before a message is decoded (frame size) or while it is (lengths, nesting), so that a hostile
or broken sender costs the service a bounded amount of memory and time.
"""

from typing import Final

MAX_TOPIC_BYTES: Final = 255
MAX_FRAME_BYTES: Final = 256 * 1024
"""One bus message body, in bytes. Larger ones are refused with `too_large` without being decoded."""

MAX_NESTING: Final = 16
"""Maps and arrays inside one another, the envelope itself being the first level."""

LISTED_LEVELS: Final = MAX_NESTING - 5
"""Maps and arrays inside one another in what lists carry (configurations, results): there it lies in five already."""

MAX_STRING_BYTES: Final = 64 * 1024
MAX_ITEMS: Final = 1_000
"""Entries of one array or map. A decoder makes room for as many as a header says, before it has read one."""

MAX_ID_CHARS: Final = 128
MAX_NAME_CHARS: Final = 64
MAX_ATTRIBUTES: Final = 32

MAX_PAGE: Final = 1_000
"""Rows of one page of a list."""

MAX_RESULT_BYTES: Final = 64 * 1024
"""A task's result as JSON; a longer one is cut and marked."""

MAX_ERROR_CHARS: Final = 16 * 1024
"""An error message or traceback; a longer one keeps its end."""

MAX_LOG_LINES: Final = 100
MAX_LOG_CHARS: Final = 500
MAX_LOG_FIELD_CHARS: Final = 1_000
MAX_LOG_FIELDS: Final = 20
MAX_LOG_BYTES: Final = 32 * 1024
"""Lines kept of what an attempt logs, the newest; characters of a line's message and of its fields as JSON; bytes of
all its lines."""

MAX_SHOWN_LOG_BYTES: Final = 48 * 1024
"""Lines of all attempts of an execution in one answer, the newest attempt's first."""
