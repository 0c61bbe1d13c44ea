"""Requests made from /openapi.json, against the real application: no answer is a defect, and none surprises the document.

Owns the making of requests from schemas; must not describe the interface a second time.
"""

import random
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import jsonschema
import pytest

from tests.fuzz.mutate import NASTY_VALUES
from tests.web.conftest import Site, build_site

REQUESTS = 40


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, sqlite_template) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("openapi") / "bridge.db"
    path.write_bytes(sqlite_template.read_bytes())
    built = build_site(f"sqlite:///{path}")
    with closing(built.bridge.store):
        built.open("1001")
        yield built


def made(schema: dict[str, Any], document: dict[str, Any], chance: random.Random) -> Any:
    """A value that fits the schema, or one time in five one that is nasty instead."""
    if chance.random() < 0.2:
        return chance.choice(NASTY_VALUES)
    if "$ref" in schema:
        return made(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, chance)
    if "anyOf" in schema:
        return made(chance.choice(schema["anyOf"]), document, chance)
    if "enum" in schema or "const" in schema:
        return chance.choice(schema.get("enum") or [schema["const"]])
    if schema.get("type") == "object":
        wanted = set(schema.get("required", ()))
        named = {n: s for n, s in schema.get("properties", {}).items() if n in wanted or chance.random() < 0.6}
        return {name: made(inner, document, chance) for name, inner in named.items()}
    if schema.get("type") == "integer":
        return chance.choice((schema.get("minimum", 0), schema.get("maximum", 7), 1, 2**31, 2**63))
    return chance.choice(("1001", "10.00", "USD", "RUB", "new", "settled", "cancelled", "amount", "ru", "x" * 64))


def sent(path: str, operation: dict[str, Any], document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One request of this operation as arguments of the site's call."""
    query, headers = {}, {}
    for parameter in operation.get("parameters", ()):
        value = made(parameter["schema"], document, chance)
        text = re.sub(r"[\x00-\x1f\x7f-\uffff]", "", str(value))[:300]
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", re.sub(r"[/?#%]", "", text) or "x")
        elif parameter["in"] == "query" and chance.random() < 0.7:
            query[parameter["name"]] = text
        elif parameter["in"] == "header":
            headers[parameter["name"]] = text
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is None:
        return {"path": path, "query_string": query, "headers": headers}
    return {"path": path, "query_string": query, "headers": headers, "body": made(body["schema"], document, chance)}


def real_ids(site: Site, path: str) -> str:
    """Some requests must get past the 404: they name what exists."""
    invoice = site.open("1001")
    public_id = invoice["payment_url"].rpartition("/")[2]
    token = site.bridge.callback_token(invoice["id"])
    known = {"invoice_id": invoice["id"], "public_id": public_id, "token": token}
    return re.sub(r"{(\w+)}", lambda name: known.get(name[1], name[0]), path)


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, inner) for path, item in document["paths"].items() for method, inner in item.items()]


def test_no_request_made_from_the_document_finds_a_defect_or_an_undescribed_answer(site):
    document = site.call("GET", "/openapi.json").json
    chance = random.Random(8)
    seen: set[int] = set()
    for path, method, operation in operations(document):
        for number in range(REQUESTS):
            known = real_ids(site, path) if number % 2 else path
            request = sent(known, operation, document, chance)
            answer = answered(site, method, request, operation)
            seen.add(answer.status_code)
            assert '"internal"' not in answer.text, (method, request)
            fits(answer, operation, document)
    assert {200, 400, 404, 422} <= seen


def answered(site: Site, method: str, request: dict[str, Any], operation: dict[str, Any]) -> Any:
    if "security" in operation:
        path, headers = request["path"], request["headers"]
        query = "&".join(f"{k}={re.sub(r'[#&%+ ]', '', v)}" for k, v in request["query_string"].items())
        return site.api(method.upper(), f"{path}?{query}", request.get("body"), **headers)
    request.pop("body", None)
    return site.call(method.upper(), request.pop("path"), **request)


def fits(answer: Any, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """The answer is one that the document names, and its JSON has the shape the document gives it."""
    described = operation["responses"].get(str(answer.status_code)) or operation["responses"]["default"]
    for kind, content in described.get("content", {}).items():
        if answer.mimetype == kind and "schema" in content:
            whole = {"components": document["components"]} | content["schema"]
            jsonschema.validate(answer.json, whole)
            return
    if described.get("content"):
        assert answer.mimetype in described["content"], (answer.status_code, answer.mimetype)
