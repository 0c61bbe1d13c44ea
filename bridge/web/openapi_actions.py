"""The operators' part of the OpenAPI document, made from the table of actions.

Owns how a row becomes an operation; must not know one of them.
"""

from typing import Any

from pydantic import BaseModel

from bridge.actions.row import Action, Read, Row
from bridge.actions.table import ROWS
from bridge.web.openapi_parts import KEY_SCHEMA, json_of, operation_of, path_of, query_of

KEY = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": KEY_SCHEMA}


def action_models() -> list[type[BaseModel]]:
    """Bodies and answers of every row."""
    bodies = [row.body for row in ROWS if isinstance(row, Action) and row.path]
    return [*bodies, *(row.answer for row in ROWS if row.answer is not None)]


def action_paths() -> dict[str, Any]:
    """What operators call with their tokens; the module asks for refunds and sees its own payouts too."""
    paths: dict[str, Any] = {}
    for row in ROWS:
        if row.path:
            path = row.path.replace("<int:", "<").translate(str.maketrans("<>", "{}"))
            paths.setdefault(path, {})[row.method.lower()] = _operation(row)
    return paths


def _operation(row: Row) -> dict[str, Any]:
    assert row.answer is not None, f"{row.path} has no answer"
    parameters = [path_of(name) for name in row.places]
    parameters += query_of(row.query) if isinstance(row, Read) and row.query.model_fields else []
    parameters += [KEY] if isinstance(row, Action) and row.keyed else []
    body, statuses = (row.body, row.statuses) if isinstance(row, Action) else (None, (200,))
    answers = {str(status): json_of(row.answer) for status in statuses}
    return operation_of(row.summary, answers, body=body, parameters=parameters, secured=True)
