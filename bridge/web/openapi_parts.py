"""The pieces of which the OpenAPI document is put together.

Owns the form of an operation; must not know a route.
"""

from typing import Any

from pydantic import BaseModel

from bridge.actions.fields import Shape

REF = "#/components/schemas/{model}"


class ProblemShape(Shape):
    """Problem details (RFC 9457). `code` is stable; `field` names the input at fault; `trace` finds the log line."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    trace: str | None = None


KEY_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}


def operation_of(
    summary: str,
    answers: dict[str, Any],
    *,
    body: type[BaseModel] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    secured: bool = False,
    problem: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation; every error it does not name is a problem."""
    operation: dict[str, Any] = {"summary": summary, "responses": answers | {"default": problem or problem_of()}}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"application/json": {"schema": {"$ref": REF.format(model=body.__name__)}}}
        operation["requestBody"] = {"required": True, "content": content}
    if secured:
        operation["security"] = [{"api_key": []}]
    return operation


def json_of(model: type[BaseModel]) -> dict[str, Any]:
    """An answer of this shape."""
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"description": (model.__doc__ or "").split("\n")[0], "content": {"application/json": {"schema": schema}}}


def problem_of() -> dict[str, Any]:
    """The answer to everything that went wrong."""
    schema = {"$ref": REF.format(model=ProblemShape.__name__)}
    return {"description": "An error", "content": {"application/problem+json": {"schema": schema}}}


def text_of(mimetype: str) -> dict[str, Any]:
    """An answer that is no JSON."""
    return {"description": "A document", "content": {mimetype: {}}}


def path_of(name: str) -> dict[str, Any]:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def query_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The members of a query's model, none of them required."""
    properties = model.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
