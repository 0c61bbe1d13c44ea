"""JSON for people: what commands print.

Owns how it looks; must not know what it says.
"""

import json
from typing import Any


def as_json(shown: Any) -> list[str]:
    """Indented, in the writer's own letters."""
    return [json.dumps(shown, indent=2, ensure_ascii=False, default=str)]
