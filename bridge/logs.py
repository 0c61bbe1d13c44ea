"""Structured logs: one JSON object per line, with an `action` and ids.

Owns the format and the last line of defence against secrets; must not be the only one, callers never pass secrets.
"""

import json
import logging
import re
import sys
from typing import Any

from bridge import tracing

_SECRET = re.compile(
    r"(?:SUBTC-KEY-|whsec_|Bearer\s+|v1,)[A-Za-z0-9+/=_\-]+|(?P<doorbell>/callbacks/\w+/)[A-Za-z0-9_\-]+",
    re.IGNORECASE,
)
# PostgreSQL tells the row's values here, and one may be a customer's; they may hold line breaks.
_ROW_VALUES = re.compile(
    r"(\nDETAIL:).*?(?=\n\[SQL: |\n\(Background on |\n\n(?:The above|During handling)|\Z)", re.DOTALL
)

OURS = "bridge"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """Replaces anything that looks like a key, a token or a signature."""
    return _SECRET.sub(lambda found: f"{found['doorbell'] or ''}[redacted]", text)


class JsonLines(logging.Formatter):
    """Formats a record as JSON with the current trace's id; whatever a caller gave as `extra` becomes members.

    A line of a library names its logger; its text is the action.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "action": record.getMessage(),
        }
        if trace_id := tracing.current():
            line["trace_id"] = trace_id
        if record.name != OURS:
            line["logger"] = record.name
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["error"] = _ROW_VALUES.sub(r"\1 [left out]", self.formatException(record.exc_info))
        return redact(json.dumps(line, ensure_ascii=False, default=str))


def set_up(level: str) -> None:
    """Sends every log line of the process to standard error as JSON."""
    line_writer = logging.StreamHandler(sys.stderr)
    line_writer.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [line_writer]
    root.setLevel(level.upper())
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def log(action: str, *, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """One line: what happened, and the ids it happened to."""
    logging.getLogger(OURS).log(level, action, exc_info=exc_info, extra=fields)
