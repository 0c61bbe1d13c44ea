"""The operators' part of the OpenAPI document, made from the table of actions.

Owns how a row becomes an operation; must not know one of them.
"""

from typing import Any

from pydantic import BaseModel

from bridge.actions.row import Action, Api, Row
from bridge.actions.table import ROWS
from bridge.web.openapi_parts import KEY_SCHEMA, json_of, operation_of, path_of, query_of

KEY = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": KEY_SCHEMA}


def action_models() -> list[type[BaseModel]]:
    """Bodies and answers of every row."""
    bodies = [row.asks for row in ROWS if row.api and isinstance(row, Action)]
    return [*bodies, *(row.api.answer for row in ROWS if row.api)]


def action_paths() -> dict[str, Any]:
    """What operators call with their tokens; the module asks for refunds and sees its own payouts too."""
    paths: dict[str, Any] = {}
    for row in ROWS:
        if row.api:
            path = row.api.path.replace("<int:", "<").translate(str.maketrans("<>", "{}"))
            paths.setdefault(path, {})[row.method.lower()] = _operation(row, row.api)
    return paths


def _operation(row: Row, api: Api) -> dict[str, Any]:
    answers = {str(status): json_of(api.answer) for status in api.statuses}
    parameters, body = [path_of(name) for name in api.places], None
    if isinstance(row, Action):
        body = row.asks
        parameters += [KEY] if row.keyed else []
    elif row.asks.model_fields:
        parameters += query_of(row.asks)
    return operation_of(api.summary, answers, body=body, parameters=parameters, secured=True)
