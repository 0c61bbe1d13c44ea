"""The same rules from outside: operators' tokens over HTTP, their pages, the command line, and two web nodes.

Owns three ways in; what they lead to is asserted as an outsider sees it.
"""

import html
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from flask import Flask
from werkzeug.test import TestResponse

from bridge.actions.people import PolicyShape, PolicyVersionShape, PolicyVersionsShape
from bridge.cli.group import main
from bridge.context import Bridge
from bridge.core.credentials import token_sha256
from bridge.people.operators import change_operator, issue_token
from bridge.people.policy import approve, propose
from bridge.store import operators
from bridge.web import create_app
from bridge.web.admin.door import COOKIE
from bridge.worker import Worker
from tests.flows.world import settings_for, until
from tests.policy.conftest import STAFF, TWO_EYES, Nodes, hire, risk, risk_of

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])
FORM = re.compile(r'<form method="post" action="([^"]+)">')


def app_of(bridge: Bridge) -> Flask:
    return create_app(bridge, api_keys={}, sign=lambda *_: {}, admin=True)


def bridge_of(app: Flask) -> Bridge:
    """The bridge that the application answers with after one request."""
    app.test_client().get("/v1/policy")
    found: Bridge = app.extensions["bridge"].bridge
    return found


def token(bridge: Bridge, name: str, role: str) -> str:
    wanted = {"starts_at": None, "ends_at": bridge.clock() + timedelta(days=1), "note": ""}
    return issue_token(bridge, operator=name, role=role, actor="root", reason="test", **wanted).token


def ask(app: Flask, method: str, path: str, bearer: str, body: Any = None) -> TestResponse:
    return app.test_client().open(path, method=method, json=body, headers={"Authorization": f"Bearer {bearer}"})


def code(response: TestResponse) -> tuple[int, str]:
    assert response.json is not None
    return response.status_code, response.json["code"]


class Person:
    """One person's browser, logged in."""

    def __init__(self, app: Flask, bridge: Bridge, name: str):
        now = bridge.clock()
        values = {"operator": name, "csrf_token": "csrf", "created_at": now, "seen_at": now}
        ends = {"expires_at": now + timedelta(hours=12)}
        with bridge.store.write() as tx:
            operators.add_session(tx, values | ends | {"token_sha256": token_sha256(f"session-of-{name}")})
        self.client = app.test_client()
        self.client.set_cookie(COOKIE, f"session-of-{name}", path="/admin")

    def see(self, path: str, lang: str = "en") -> str:
        response = self.client.get(f"/admin{path}", query_string={"lang": lang})
        assert response.status_code == 200, response.text
        return html.unescape(response.text)

    def send(self, path: str, reason: str = "because I looked") -> TestResponse:
        return self.client.post(f"/admin{path}", data={"csrf_token": "csrf", "reason": reason})


def test_two_web_nodes_and_a_worker_go_by_the_new_version_only_when_it_is_approved(
    node: Bridge, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.web.around.PAUSE_SECONDS", 0)
    monkeypatch.setattr("bridge.worker.POLICY_PAUSE_SECONDS", 0)
    webs = [app_of(nodes(takes=False, **risk(100))), app_of(nodes(takes=False, **risk(300)))]
    with working(nodes(takes=False, **risk(300))) as worker:

        def seen() -> list[int]:
            return [risk_of(each) for each in (*map(bridge_of, webs), worker.bridge)]

        until(lambda: worker.bridge.policy_number)
        assert seen() == [100, 100, 100]
        made = propose(nodes(takes=False, **risk(300)), actor="fay", reason="wild market")
        before = worker.rounds
        until(lambda: worker.rounds > before + 2)
        assert seen() == [100, 100, 100]
        approve(node, made["number"], actor="ann", reason="ok")
        until(lambda: seen() == [300, 300, 300])


class CountingWorker(Worker):
    """A worker that says how often it went round."""

    rounds = 0

    def step(self) -> bool:
        self.rounds += 1
        return super().step()


@contextmanager
def working(bridge: Bridge) -> Iterator[CountingWorker]:
    worker = CountingWorker(bridge, threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)


def test_without_a_database_nothing_is_decided_by_the_file_alone(sqlite_url: str, tmp_path: Path) -> None:
    from bridge.runtime import build

    bridge = build(settings_for("http://127.0.0.1:1", f"sqlite:///{tmp_path}/no/such/place.db"))
    app = app_of(bridge)
    assert code(app.test_client().get("/v1/policy")) == (503, "database_unavailable")
    assert app.test_client().get("/healthz").status_code == 200
    assert Worker(bridge, threads=1).step() is False
    bridge.store.close()


def test_a_change_over_http_takes_two_people(node: Bridge, nodes: Nodes) -> None:
    app = app_of(nodes(takes=False, **risk(300)))
    fay, ann, vic = token(node, "fay", "finance"), token(node, "ann", "approver"), token(node, "vic", "viewer")
    seen = ask(app, "GET", "/v1/policy", vic).json
    shown = PolicyShape.model_validate(seen, strict=True)
    assert (shown.file, shown.active.number, shown.approvals, shown.approvers) == ("edited", 1, 1, 2)
    assert code(ask(app, "POST", "/v1/policy/versions", vic, {"reason": "x"})) == (403, "forbidden")
    made = ask(app, "POST", "/v1/policy/versions", fay, {"reason": "wild market"})
    assert (made.status_code, made.json["status"], made.json["proposed_by"]) == (201, "proposed", "fay")
    one = f"/v1/policy/versions/{made.json['number']}"
    assert code(ask(app, "POST", f"{one}/approve", fay, {"reason": "mine"})) == (403, "forbidden")
    assert code(ask(app, "POST", f"{one}/approve", ann, {"reason": ""}))[0] == 422
    done = ask(app, "POST", f"{one}/approve", ann, {"reason": "ok"})
    assert PolicyVersionShape.model_validate(done.json, strict=True).status == "active"
    changed = {each["setting"] for each in ask(app, "GET", one, vic).json["changes"]}
    assert changed == {"merchants.shop.policy.default.risk_bps"}
    page = ask(app, "GET", "/v1/policy/versions?limit=1", vic).json
    assert PolicyVersionsShape.model_validate(page, strict=True).next_before == 2
    assert code(ask(app, "GET", f"/v1/policy/versions/{10**20}", vic)) == (404, "unknown_policy")


def test_the_same_person_is_refused_over_http_in_page_and_in_cli(node: Bridge, nodes: Nodes, shell: Any) -> None:
    edited = nodes(takes=False, **risk(300))
    number = propose(edited, actor="fay", reason="for me")["number"]
    change_operator(edited, "fay", role="approver", actor="root", reason="promoted")
    app = app_of(edited)
    answer = ask(
        app, "POST", f"/v1/policy/versions/{number}/approve", token(node, "fay", "approver"), {"reason": "mine"}
    )
    assert code(answer) == (403, "same_person")
    fay = Person(app, node, "fay")
    assert f"/policy/{number}/approve" not in fay.see(f"/policy/{number}")
    page = fay.send(f"/policy/{number}/approve")
    assert (page.status_code, 'data-code="same_person"' in page.text) == (403, True)
    told = shell("policy", "approve", str(number), "--actor", "fay", "--reason", "mine")
    assert (told.exit_code, "same_person" in told.output) == (1, True)
    assert bridge_of(app).policy_number == 1


@ONE_ENGINE
def test_the_pages_show_what_would_change_and_let_another_person_decide(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    app = app_of(edited)
    fay, ann, bob, vic = (Person(app, node, name) for name in ("fay", "ann", "bob", "vic"))
    text = vic.see("/policy")
    assert "Version 1 is in force" in text and "Version 2 waits for approval" in text
    assert "merchants.shop.policy.default.risk_bps" in text and ">3\u00a0%<" in text
    assert [each for each in FORM.findall(text) if "policy" in each] == []
    assert fay.send("/policy/propose").location.endswith("/policy/3?done=policy_proposed")
    assert "Yours is the last approval" in ann.see("/policy/3")
    assert "Действует версия 1" in bob.see("/policy", lang="ru")
    assert fay.send("/policy/3/approve").status_code == 403
    assert ann.send("/policy/3/approve").location.endswith("done=policy_in_force")
    assert "Version 3 is in force" in vic.see("/policy") and "The settings file of this server" not in vic.see(
        "/policy"
    )
    assert bob.send("/policy/3/reject").status_code == 409
    assert 'data-code="unknown_policy"' in bob.send("/policy/99/reject").text


@ONE_ENGINE
def test_a_page_without_a_reason_changes_nothing(node: Bridge, nodes: Nodes) -> None:
    app = app_of(nodes(**risk(300)))
    answer = Person(app, node, "ann").send("/policy/2/approve", reason=" ")
    assert 'data-code="actor_and_reason_required"' in answer.text


@pytest.fixture
def shell(database_url: str, tmp_path: Path) -> Any:
    """The command line over the test's database; `risk_bps` edits the file before."""
    path = tmp_path / "config.yaml"

    def run(*arguments: str, risk_bps: int = 100) -> Any:
        settings = settings_for("http://127.0.0.1:1", database_url, **risk(risk_bps))
        path.write_text(yaml.safe_dump(written(settings)))
        return CliRunner().invoke(main, ["--config", str(path), *arguments])

    return run


def written(settings: Any) -> dict[str, Any]:
    """Settings as a file says them, with their secrets."""
    from pydantic import SecretStr

    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    return dict(plain(settings.model_dump(exclude_unset=True)))


def test_the_command_line_proposes_shows_and_decides(node: Bridge, shell: Any) -> None:
    assert shell("policy", "diff").exit_code == 0
    differs = shell("policy", "diff", risk_bps=300)
    assert (differs.exit_code, differs.output) == (1, "merchants.shop.policy.default.risk_bps: 100 → 300\n")
    who = ("--actor", "fay", "--reason", "wild market")
    proposed = shell("policy", "propose", *who, risk_bps=300)
    assert proposed.output == "Policy version 2 is proposed and waits for 1 more approval(s).\n"
    listed = shell("policy", "list").output
    assert re.search(r"2  proposed +fay +0/1 approvals  wild market", listed) and "2 versions" in listed
    assert json.loads(shell("policy", "show").output)["active"]["number"] == 1
    unasked = shell("policy", "approve", "2", "--actor", "ann", "--reason", " ")
    assert (unasked.exit_code, "actor_and_reason_required" in unasked.output) == (1, True)
    approved = shell("policy", "approve", "2", "--actor", "ann", "--reason", "ok")
    assert approved.output == "Policy version 2 is active.\n"
    assert shell("policy", "diff", "1", "2").output == differs.output
    assert json.loads(shell("policy", "show", "2").output)["approvals"][0]["actor"] == "ann"
    rejected = shell("policy", "reject", "2", "--actor", "ann", "--reason", "late")
    assert (rejected.exit_code, "not_waiting" in rejected.output) == (1, True)


def test_a_command_with_an_edited_file_goes_by_what_is_in_force(node: Bridge, shell: Any) -> None:
    shown = shell("treasury", "show", risk_bps=300)
    assert shown.exit_code == 0
    state = json.loads(shell("policy", "show", risk_bps=300).output)
    assert (state["file"], state["active"]["number"], state["proposed"]) == ("edited", 1, [])


def test_one_look_a_second_serves_many_requests(node: Bridge) -> None:
    from sqlalchemy import event

    app, asked = app_of(node), []
    event.listen(node.store.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    for _ in range(20):
        app.test_client().get("/v1/events")
    looks = [statement for statement in asked if "policy_versions" in statement]
    assert len(looks) <= 3


@ONE_ENGINE
def test_the_page_says_what_unconfirmed_credit_may_lose_before_and_after_it_is_approved(nodes: Nodes) -> None:
    safe = {"default": {"zero_conf_max_sat": 0}}
    hire(nodes(**TWO_EYES, policy=safe), STAFF)
    bold = nodes(**TWO_EYES, policy={"default": {"zero_conf_max_sat": 20_000}})
    ann = Person(app_of(bold), bold, "ann")
    for lang, warning in (("en", "any unconfirmed payment can be replaced"), ("ru", "любой неподтверждённый платёж")):
        assert (
            ann.see("/policy", lang=lang).count(warning) == 1
        )  # the change that waits; what is in force risks nothing
    for person in ("ann", "bob"):
        approve(bold, 2, actor=person, reason="small sums only")
    again = nodes(**TWO_EYES, policy={"default": {"zero_conf_max_sat": 20_000}})
    assert Person(app_of(again), again, "vic").see("/policy").count("any unconfirmed payment can be replaced") == 1
