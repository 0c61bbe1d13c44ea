"""The same rules from outside: over HTTP with keys and tokens, and on the command line."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import segno
import yaml
from click.testing import CliRunner
from flask.testing import FlaskClient

from bridge.actions.money import PayoutShape, TreasuryShape
from bridge.actions.people import OperatorShape
from bridge.actions.reviews import GrantShape, ReviewShape, RuledShape
from bridge.actions.upkeep import RunShape
from bridge.cli.group import main
from bridge.config import ConfigError, load_settings
from bridge.people.operators import issue_token
from bridge.web import create_app
from tests.flows.world import KEY, WALLET
from tests.payouts.desk import COLD, PAYER, TAPROOT, Desk, part_paid

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
API_KEY = "k" * 30


class Caller:
    """Programs that call the bridge: the module with its key, people with their tokens."""

    def __init__(self, desk: Desk, client: FlaskClient):
        self.desk, self.client = desk, client

    def token(self, name: str, role: str) -> str:
        ends_at = self.desk.world.bridge.clock() + timedelta(days=1)
        wanted = {"starts_at": None, "ends_at": ends_at, "note": "", "actor": "root", "reason": "test"}
        return issue_token(self.desk.world.bridge, operator=name, role=role, **wanted).token

    def __call__(
        self, method: str, path: str, body: Any = None, *, token: str = API_KEY, key: str | None = None
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
        return self.client.open(path, method=method, headers=headers, json=body)


@pytest.fixture
def caller(desk: Desk) -> Caller:
    return caller_of(desk)


def caller_of(desk: Desk) -> Caller:
    import hashlib

    keys = {hashlib.sha256(API_KEY.encode()).hexdigest(): "shop"}
    app = create_app(desk.world.bridge, api_keys=keys, sign=lambda *_: {}, callback_check=None)
    return Caller(desk, app.test_client())


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json["code"]


def test_the_module_asks_and_two_people_decide(caller: Caller) -> None:
    desk = caller.desk
    invoice = desk.settled()
    body = {"variant": "paid_sat", "reason": "the order was cancelled"}
    path = f"/v1/invoices/{invoice['id']}/refunds"
    assert code(caller("POST", path, body)) == (400, "idempotency_key_missing")
    asked = caller("POST", path, body, key="bm-7-1")
    assert asked.status_code == 201
    assert asked.json["proposed_by"] == "module:shop"
    assert asked.json["address_form_url"].startswith("http")
    again = caller("POST", path, body, key="bm-7-1")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json["id"] == asked.json["id"]

    one = f"/v1/payouts/{asked.json['id']}"
    fay, ann = caller.token("fay", "finance"), caller.token("ann", "approver")
    named = caller("POST", f"{one}/address", {"address": PAYER, "reason": "the client wrote"}, token=fay)
    assert named.json["destination"] == PAYER
    assert code(caller("POST", f"{one}/approve", {"reason": "ok"})) == (401, "unauthorized")
    assert code(caller("POST", f"{one}/approve", {"reason": "ok"}, token=fay)) == (403, "forbidden")
    approved = caller("POST", f"{one}/approve", {"reason": "checked"}, token=ann)
    assert (approved.status_code, approved.json["state"]) == (200, "approved")
    desk.send()
    seen = caller("GET", one)
    assert PayoutShape.model_validate(seen.json, strict=True).state == "sent"
    assert set(PayoutShape.model_fields) >= set(seen.json)
    assert [p["id"] for p in caller("GET", "/v1/payouts?state=sent").json["payouts"]] == [asked.json["id"]]


def test_an_unknown_fee_is_said_over_http(caller: Caller) -> None:
    desk = caller.desk
    desk.world.control("knobs", health_form="result")
    invoice, fay, ann = desk.settled(), caller.token("fay", "finance"), caller.token("ann", "approver")
    body = {"variant": "paid_sat", "address": PAYER, "reason": "cancelled"}
    asked = caller("POST", f"/v1/invoices/{invoice['id']}/refunds", body, token=fay, key="r1")
    assert asked.status_code == 201
    shown = PayoutShape.model_validate(asked.json, strict=True)
    assert (shown.fee_bps, shown.fee_sat, shown.gross_sat) == (None, None, invoice["received_sat"])
    assert caller("POST", f"/v1/payouts/{shown.id}/approve", {"reason": "checked"}, token=ann).json["fee_bps"] is None
    desk.send()
    sent = PayoutShape.model_validate(caller("GET", f"/v1/payouts/{shown.id}").json, strict=True)
    assert sent.sent_sat is not None and sent.still_owed_sat == sent.net_sat - sent.sent_sat == sent.paid_fee_sat > 0
    view = caller("GET", "/v1/treasury", token=fay).json
    assert TreasuryShape.model_validate(view, strict=True)


def test_the_same_person_twice_is_refused_over_http(caller: Caller) -> None:
    from bridge.people.operators import change_operator

    desk = caller.desk
    payout = desk.ask(desk.settled())
    change_operator(desk.world.bridge, "fay", role="approver", actor="root", reason="promoted")
    token = caller.token("fay", "approver")
    answer = caller("POST", f"/v1/payouts/{payout['id']}/approve", {"reason": "mine"}, token=token)
    assert code(answer) == (403, "same_person")


def test_a_manual_mark_by_two_people_over_http(caller: Caller) -> None:
    from bridge.people.operators import change_operator

    part = part_paid(caller.desk)
    fay, ann = caller.token("fay", "finance"), caller.token("ann", "approver")
    body = {"decision": "mark_settled", "reason": "a long-standing client"}
    ruled = caller("POST", f"/v1/reviews/{part.review_id}/resolve", body, token=fay)
    assert RuledShape.model_validate(ruled.json, strict=True).review.state == "open"
    (mark,) = caller("GET", "/v1/marks?state=proposed", token=ann).json["marks"]
    assert mark == ruled.json["review"]["marks"][0]
    approve, why = f"/v1/marks/{mark['id']}/approve", {"reason": "checked"}
    assert code(caller("POST", approve, why, token=fay)) == (403, "forbidden")
    change_operator(caller.desk.world.bridge, "fay", role="approver", actor="root", reason="promoted")
    mine = caller.token("fay", "approver")
    assert code(caller("POST", approve, why, token=mine)) == (403, "same_person")
    assert caller("POST", approve, why, token=ann).json["state"] == "approved"
    assert caller.desk.world.invoice(part.invoice)["status"] == "settled"
    assert code(caller("POST", f"/v1/marks/{mark['id']}/reject", why, token=ann)) == (409, "not_waiting")
    assert code(caller("GET", "/v1/marks/mrk_none", token=ann)) == (404, "unknown_mark")


def test_an_admin_manages_people_over_http(caller: Caller) -> None:
    root = caller.token("root", "admin")
    new = {"name": "eva", "role": "support", "password": "a long enough password", "reason": "hired"}
    made = caller("POST", "/v1/operators", new, token=root)
    assert (made.status_code, made.json["totp_url"].partition(":")[0]) == (201, "otpauth")
    assert code(caller("POST", "/v1/operators", new, token=root)) == (409, "operator_exists")
    change = {"role": "finance", "expires_at": "2100-01-01T00:00:00Z", "reason": "promoted"}
    seen = caller("POST", "/v1/operators/eva/change", change, token=root).json
    assert OperatorShape.model_validate(seen, strict=True).expires_at == "2100-01-01T00:00:00Z"
    ended = caller("POST", "/v1/operators/eva/change", {"endless": True, "reason": "stays"}, token=root).json
    assert (ended["role"], ended["expires_at"]) == ("finance", None)
    wanted = {"role": "finance", "ends_at": "2100-01-01T00:00:00Z", "note": "a script", "reason": "automation"}
    token = caller("POST", "/v1/operators/eva/tokens", wanted, token=root).json
    assert caller("GET", "/v1/treasury", token=token["token"]).status_code == 200
    why = {"reason": "leaked"}
    assert caller("POST", f"/v1/operator-tokens/{token['id']}/revoke", why, token=root).json["revoked"]
    assert code(caller("GET", "/v1/treasury", token=token["token"])) == (401, "unauthorized")
    password = {"password": "another long password", "reason": "forgotten"}
    assert caller("POST", "/v1/operators/eva/password", password, token=root).status_code == 200
    assert caller("POST", "/v1/operators/eva/totp", why, token=root).json["totp_url"] != made.json["totp_url"]
    locked = caller("POST", "/v1/operators/eva/change", {"access": "disabled", "reason": "left"}, token=root).json
    assert not locked["is_active"] and "token" not in str(locked["tokens"][0].keys() - {"id"})
    raised = caller("POST", "/v1/operators/root/change", {"role": "approver", "reason": "me"}, token=root)
    assert raised.status_code == 422 or raised.json["code"] in ("own_access", "last_admin")
    for name, role in (("fay", "finance"), ("ann", "approver"), ("sam", "support")):
        mine = caller.token(name, role)
        assert code(caller("POST", "/v1/operators", new, token=mine)) == (403, "forbidden")
        assert code(caller("GET", f"/v1/operators/{name}", token=mine)) == (403, "forbidden")
    assert code(caller("GET", "/v1/operators/nobody", token=root)) == (404, "no_such_operator")


def test_time_is_given_over_http(
    desks: Callable[..., Desk],
) -> None:
    desk = desks(policy={"default": {"grace_seconds": 864_000}})
    caller = caller_of(desk)
    ann, fay = caller.token("ann", "approver"), caller.token("fay", "finance")
    invoice, why = desk.world.open("7"), {"reason": "a client for years"}
    path = f"/v1/invoices/{invoice['id']}/grace"
    assert code(caller("POST", path, why, token=fay)) == (403, "forbidden")
    assert code(caller("POST", path, why | {"ends_at": "2100-01-01T00:00:00Z"}, token=ann)) == (422, "bad_period")
    given = caller("POST", path, why, token=ann)
    assert (given.status_code, GrantShape.model_validate(given.json, strict=True).state) == (201, "open")
    assert caller("GET", "/v1/grace-grants?state=open", token=fay).json["grants"] == [given.json]
    assert caller("GET", f"/v1/invoices/{invoice['id']}").json["grace_until"] == given.json["ends_at"]
    assert code(caller("POST", path, why, token=ann)) == (409, "grace_given")


def test_looking_again_replaying_and_reconciling_over_http(caller: Caller) -> None:
    desk = caller.desk
    invoice = desk.settled()
    sam, fay = caller.token("sam", "support"), caller.token("fay", "finance")
    why = {"reason": "the client asked"}
    assert caller("POST", f"/v1/invoices/{invoice['id']}/check", why, token=sam).json == {"is_answered": True}
    assert code(caller("POST", "/v1/invoices/inv_none/check", why, token=sam)) == (404, "unknown_invoice")
    assert code(caller("POST", f"/v1/invoices/{invoice['id']}/check", {}, token=sam)) == (422, "missing_field")
    sent = caller("POST", "/v1/test-events", why | {"merchant": "shop"}, token=sam)
    assert sent.status_code == 201
    replayed = caller("POST", f"/v1/events/{sent.json['event_id']}/replay", why, token=sam)
    assert replayed.json == {"outcome": "already in the queue"}
    assert code(caller("POST", "/v1/events/in:999/replay", why, token=sam)) == (404, "unknown_event")
    begun = caller("POST", "/v1/reconciliations", why, token=fay)
    assert (begun.status_code, RunShape.model_validate(begun.json).actor) == (201, "fay")
    again = caller("POST", "/v1/reconciliations", why | {"from": "2020-01-01T00:00:00Z"}, token=fay)
    assert again.json["id"] == begun.json["id"]
    listed = caller("GET", "/v1/reconciliations?limit=1", token=sam).json["reconciliations"]
    assert [run["id"] for run in listed] == [begun.json["id"]]
    assert caller("GET", f"/v1/reconciliations/{begun.json['id']}?after=0", token=sam).json["findings"] == []
    assert code(caller("POST", "/v1/reconciliations", why, token=sam)) == (403, "forbidden")
    baseline = why | {"baseline_sat": 5}
    assert caller("POST", "/v1/wallet-baseline", baseline, token=fay).json == {"baseline_sat": 5}
    assert code(caller("POST", "/v1/wallet-baseline", baseline, token=sam)) == (403, "forbidden")
    rows = caller("GET", "/v1/audit?limit=200", token=sam).json
    assert caller("GET", "/v1/audit?action=test_event", token=sam).json["audit"][0]["actor"] == "sam"
    assert caller("GET", "/v1/modes", token=sam).json["modes"][0]["mode"] == "normal"
    asked = [(row["action"], row["actor"]) for row in reversed(rows["audit"]) if row["reason"] == why["reason"]]
    assert asked == [
        ("look_asked", "sam"),
        ("test_event", "sam"),
        ("replayed", "sam"),
        ("reconciliation_asked", "fay"),
        ("wallet_baseline_set", "fay"),
    ]


def test_a_viewers_token_changes_nothing(caller: Caller) -> None:
    payout = caller.desk.ask(caller.desk.settled())
    token = caller.token("fay", "viewer")
    assert caller("GET", "/v1/treasury", token=token).status_code == 200
    changes = [
        (f"/v1/invoices/{payout['invoice_id']}/refunds", {"variant": "paid_sat", "reason": "x"}),
        (f"/v1/payouts/{payout['id']}/approve", {"reason": "x"}),
        (f"/v1/payouts/{payout['id']}/reject", {"reason": "x"}),
        (f"/v1/payouts/{payout['id']}/address", {"address": TAPROOT, "reason": "x"}),
        ("/v1/sweeps", {"reason": "x"}),
        ("/v1/write-offs", {"role": "hot", "gross_sat": 5, "reason": "x"}),
        ("/v1/modes", {"mode": "read_only", "reason": "x"}),
        ("/v1/reviews/rev_1/resolve", {"decision": "refund", "reason": "x"}),
        ("/v1/deliveries/dlv_1/redeliver", {"reason": "x"}),
        ("/v1/test-events", {"merchant": "shop", "reason": "x"}),
        ("/v1/events/in:1/replay", {"reason": "x"}),
        ("/v1/invoices/inv_1/check", {"reason": "x"}),
        ("/v1/reconciliations", {"reason": "x"}),
        ("/v1/invoices/inv_1/grace", {"reason": "x"}),
        ("/v1/wallet-baseline", {"baseline_sat": 1, "reason": "x"}),
        ("/v1/marks/mrk_1/approve", {"reason": "x"}),
        ("/v1/marks/mrk_1/reject", {"reason": "x"}),
        ("/v1/operators/ann/change", {"role": "admin", "reason": "x"}),
        ("/v1/operators/ann/totp", {"reason": "x"}),
        ("/v1/operator-tokens/tok_1/revoke", {"reason": "x"}),
    ]
    for path, body in changes:
        assert code(caller("POST", path, body, token=token, key="k")) == (403, "forbidden"), path
    assert code(caller("GET", "/v1/operators", token=token)) == (403, "forbidden")


def test_another_merchants_payouts_do_not_exist(caller: Caller) -> None:
    desk = caller.desk
    foreign = desk.world.open("9", merchant="other", amount_text="100.00")
    desk.world.pay(foreign)
    desk.world.mine(6)
    desk.world.look(foreign)
    payout = desk.ask(foreign)
    assert code(caller("GET", f"/v1/payouts/{payout['id']}")) == (404, "unknown_payout")
    assert caller("GET", "/v1/payouts").json["payouts"] == []
    refund = {"variant": "paid_sat", "reason": "mine now"}
    assert code(caller("POST", f"/v1/invoices/{foreign['id']}/refunds", refund, key="k")) == (404, "unknown_invoice")


def test_an_unknown_outcome_is_settled_over_http(caller: Caller) -> None:
    desk = caller.desk
    payout = desk.approved(desk.settled())
    desk.world.fault("wallet_send", "lost_response", times=1)
    desk.send()
    fay, sam = caller.token("fay", "finance"), caller.token("sam", "support")
    (item,) = caller("GET", "/v1/reviews?kind=outcome_unknown&state=open", token=sam).json["reviews"]
    shown = caller("GET", f"/v1/reviews/{item['id']}", token=sam).json
    assert ReviewShape.model_validate(shown, strict=True)
    path, ruling = f"/v1/reviews/{item['id']}/resolve", {"decision": "payout_retry", "reason": "same key"}
    assert code(caller("POST", path, ruling, token=sam)) == (403, "forbidden")
    assert caller("POST", path, ruling, token=fay).json["review"]["state"] == "resolved"
    desk.send()
    assert desk.now(payout)["state"] == "sent"
    assert len(desk.arrived()) == 1


def test_treasury_and_sweeps_over_http(caller: Caller) -> None:
    caller.desk.settled()
    fay, ann = caller.token("fay", "finance"), caller.token("ann", "approver")
    asked = caller("POST", "/v1/sweeps", {"reason": "full"}, token=fay, key="s1")
    assert (asked.status_code, asked.json["destination"]) == (201, COLD)
    assert caller("POST", f"/v1/payouts/{asked.json['id']}/approve", {"reason": "ok"}, token=ann).status_code == 200
    caller.desk.send()
    view = caller("GET", "/v1/treasury", token=ann).json
    assert TreasuryShape.model_validate(view, strict=True)
    assert view["in_sweep_sat"] > 0


def test_a_parked_delivery_is_sent_again_over_http(caller: Caller) -> None:
    desk = caller.desk
    from tests.flows.world import answer

    desk.world.billing.answers["shop"] = lambda _: answer("parked", 409)
    desk.settled()
    desk.world.deliver()
    sam = caller.token("sam", "support")
    parked = caller("GET", "/v1/deliveries?state=parked", token=sam).json["deliveries"]
    desk.world.billing.answers.clear()
    for delivery in parked:
        path, why = f"/v1/deliveries/{delivery['id']}/redeliver", {"reason": "their server is back"}
        assert code(caller("POST", path, {}, token=sam)) == (422, "missing_field")
        assert caller("POST", path, why, token=sam).json["is_queued_again"]
    desk.world.deliver()
    assert caller("GET", f"/v1/deliveries/{parked[0]['id']}", token=sam).json["state"] == "delivered"
    assert code(caller("POST", "/v1/deliveries/dlv_none/redeliver", why, token=sam)) == (404, "unknown_delivery")


def test_the_billing_system_reports_its_own_refund_over_http(caller: Caller) -> None:
    invoice = caller.desk.settled()
    told = caller("POST", f"/v1/invoices/{invoice['id']}/billing-changes", {"change": "refunded"})
    assert told.status_code == 200
    refund = {"variant": "paid_sat", "reason": "again"}
    assert code(caller("POST", f"/v1/invoices/{invoice['id']}/refunds", refund, key="k")) == (422, "nothing_to_refund")


@pytest.fixture
def command(desk: Desk, database_url: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """The real command over the desk's database and sandbox."""
    from tests.flows.world import settings_for
    from tests.payouts.desk import settings

    config = settings_for(desk.world.sandbox.url, database_url, **settings())
    shown = json.loads(config.model_dump_json())
    # The secrets of a dumped configuration are masked: this is how a person would write them.
    shown["token_secret"], shown["subtc"]["key"] = "t" * 32, KEY
    for number, merchant in enumerate(shown["merchants"]):
        merchant |= {"api_keys": [f"{number}" * 30], "notify_secrets": [f"whsec_{number}" + "A" * 31]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(shown))

    def run(*arguments: str, stdin: str = "") -> Any:
        return CliRunner().invoke(main, ["--config", str(path), *arguments], input=stdin)

    yield run


WHY = ("--reason", "checked")


def test_a_refund_by_two_people_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    invoice = desk.settled()
    asked = command("refunds", "request", invoice["id"], "--to", PAYER, "--actor", "fay", *WHY)
    assert asked.exit_code == 0, asked.output
    payout = json.loads(asked.output)
    same = command("payouts", "approve", payout["id"], "--actor", "fay", *WHY)
    assert (same.exit_code, "forbidden" in same.output) == (1, True)
    stranger = command("payouts", "approve", payout["id"], "--actor", "eve", *WHY)
    assert "unknown_operator" in stranger.output
    done = command("payouts", "approve", payout["id"], "--actor", "ann", *WHY)
    assert json.loads(done.output)["state"] == "approved"
    assert "1 payouts" in command("payouts", "list", "--state", "approved").output
    moved = command("payouts", "address", payout["id"], TAPROOT, "--actor", "sam", *WHY)
    assert json.loads(moved.output)["state"] == "requested"
    assert json.loads(command("payouts", "reject", payout["id"], "--actor", "bob", *WHY).output)["state"] == "rejected"
    assert len(json.loads(command("payouts", "show", payout["id"]).output)["all_approvals"]) == 1


def test_lists_for_people_are_told_to_programs_too(desk: Desk, command: Callable[..., Any]) -> None:
    invoice = desk.settled()
    events = json.loads(command("events", "list", "--json").output)
    assert {"invoice.settled"} <= {each["type"] for each in events if each["invoice_id"] == invoice["id"]}
    assert f"{len(events)} events" in command("events", "list").output
    assert json.loads(command("review", "list", "--all", "--json").output) == []


def test_an_unknown_fee_is_said_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    desk.world.control("knobs", health_form="result")
    invoice = desk.settled()
    asked = command("refunds", "request", invoice["id"], "--to", PAYER, "--actor", "fay", *WHY)
    payout = json.loads(asked.stdout)
    said = f"The gateway's fee is unknown: {invoice['received_sat']} sat leave"
    assert payout["fee_sat"] is None and said in asked.stderr
    assert "fee unknown" in command("payouts", "list").output
    assert said in command("payouts", "show", payout["id"]).stderr
    assert said in command("payouts", "approve", payout["id"], "--actor", "ann", *WHY).stderr
    desk.send()
    assert command("payouts", "show", payout["id"]).stderr == ""
    sweep = command("treasury", "sweep", "--actor", "fay", *WHY)
    assert json.loads(sweep.stdout)["fee_bps"] is None and "fee is unknown" in sweep.stderr


def test_a_manual_mark_by_two_people_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    part = part_paid(desk)
    asked = command("review", "resolve", part.review_id, "mark_settled", "--actor", "fay", *WHY)
    assert (asked.exit_code, "somebody else must approve it" in asked.output) == (0, True), asked.output
    mark = part.mark()["id"]
    assert mark in asked.output and mark in command("marks", "list", "--state", "proposed").output
    assert "forbidden" in command("marks", "approve", mark, "--actor", "fay", *WHY).output
    command("operator", "change", "fay", "--role", "approver", "--actor", "root", "--reason", "promoted")
    assert "same_person" in command("marks", "approve", mark, "--actor", "fay", *WHY).output
    assert json.loads(command("marks", "approve", mark, "--actor", "ann", *WHY).output)["state"] == "approved"
    assert json.loads(command("marks", "show", mark).output)["approvals"][0]["actor"] == "ann"
    assert "not_waiting" in command("marks", "reject", mark, "--actor", "bob", *WHY).output


def test_audit_and_switches_are_listed_on_the_command_line(command: Callable[..., Any]) -> None:
    assert command("mode", "limited", "--actor", "fay", "--reason", "moving house").exit_code == 0
    listed = command("audit", "--by", "fay", "--action", "mode_set").output
    assert "moving house" in listed and listed.endswith("1 rows\n")
    assert "limited" in command("modes").output and "moving house" in command("modes").output


def test_one_invoice_is_looked_at_again_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    invoice = desk.settled()
    assert command("recheck", invoice["id"], "--actor", "sam", *WHY).output == "Looked.\n"
    assert "unknown_invoice" in command("recheck", "inv_none", "--actor", "sam", *WHY).output


def test_the_same_person_twice_is_refused_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    payout = desk.ask(desk.settled())
    command("operator", "change", "fay", "--role", "approver", "--actor", "root", "--reason", "promoted")
    again = command("payouts", "approve", payout["id"], "--actor", "fay", *WHY)
    assert (again.exit_code, "same_person" in again.output) == (1, True)


# What each command that acts needs besides who and why.
ACTING = {
    "review resolve": ("rev_1", "refund"),
    "marks approve": ("mrk_1",),
    "marks reject": ("mrk_1",),
    "grace grant": ("inv_1",),
    "mode": ("read_only",),
    "deliveries redeliver": ("dlv_1",),
    "deliveries test": ("shop",),
    "events replay": ("evt_1",),
    "reconcile": (),
    "reconcile baseline": ("5",),
    "refunds request": ("inv_1",),
    "payouts approve": ("pay_1",),
    "payouts reject": ("pay_1",),
    "payouts address": ("pay_1", PAYER),
    "payouts sent": ("pay_1", "ab" * 32),
    "treasury sweep": (),
    "treasury write-off": ("5",),
    "treasury funded": ("5", "--txid", "ab" * 32, "--wallet", "hot"),
    "treasury moved": ("5", "--txid", "ab" * 32),
    "operator add": ("eva", "--role", "viewer"),
    "operator disable": ("ann",),
    "operator enable": ("ann",),
    "operator change": ("ann", "--role", "admin"),
    "operator password": ("ann",),
    "operator totp": ("ann",),
    "operator token add": ("ann", "--role", "viewer", "--until", "2100-01-01"),
    "operator token revoke": ("tok_1",),
    "policy propose": (),
    "policy approve": ("1",),
    "policy reject": ("1",),
    "recheck": (),
    "purge": (),
    "thaw": (),
    "claims open": ("inv_1", "--said", "I paid"),
    "claims advance": ("clm_1", "dispute"),
    "claims close": ("clm_1", "withdrawn"),
}


def test_every_command_that_acts_has_its_line(engine_name: str) -> None:
    from tests.admin.test_everywhere import commands

    assert {name for name, options in commands() if "actor" in options} == {*ACTING, "restore", "after-failover"}


@pytest.mark.parametrize("name", ACTING)
def test_every_command_takes_an_operators_name_and_a_reason_and_nothing_else(
    command: Callable[..., Any], name: str
) -> None:
    words = (*name.split(), *ACTING[name])
    password = "a long enough password\n"
    for actor, reason, refusal in (
        ("eve", "because", "unknown_operator"),
        (" ", "because", "actor_and_reason_required"),
        ("fay", " ", "actor_and_reason_required"),
    ):
        answer = command(*words, "--actor", actor, "--reason", reason, stdin=password)
        assert (answer.exit_code, refusal in answer.output) == (1, True), answer.output


def test_a_terminal_draws_the_secret_of_a_new_person_as_a_code_named_after_the_shop(
    desk: Desk, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = yaml.safe_load((tmp_path / "config.yaml").read_text()) | {"shop": {"name": "Example: Hosting"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(named))
    add = ("operator", "add", "--role", "support", "--actor", "root", "--reason", "staff")
    plain = command(*add, "eva", stdin="a long enough password\n").output
    assert "otpauth://totp/Example%20Hosting%3Aeva?" in plain and "█" not in plain
    monkeypatch.setattr("bridge.cli.actions.is_terminal", lambda: True)
    output = command(*add, "eve", stdin="a long enough password\n").output
    url = next(line for line in output.splitlines() if line.startswith("otpauth:"))
    rows = [line for line in output.splitlines() if line and set(line) <= set("█▀▄ ")]
    # Two rows of the code in a line; what is drawn is white.
    halves = [[(cell in "█▀", cell in "█▄") for cell in row] for row in rows]
    drawn = [[not half[n] for half in row] for row in halves for n in (0, 1)]
    wanted = [[bool(cell) for cell in row] for row in segno.make(url, micro=False, error="l", boost_error=False).matrix]
    size = len(wanted)
    assert [row[2 : 2 + size] for row in drawn[2 : 2 + size]] == wanted
    assert (len(rows) <= 24, len(rows[0]) <= 80) == (True, True)


def test_people_are_managed_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    admin = ("--actor", "root", "--reason", "staff")
    added = command("operator", "add", "eve", "--role", "support", *admin, stdin="a long enough password\n")
    assert "otpauth://totp/" in added.output and "long enough" not in added.output
    assert "eve" in command("operator", "list").output
    made = command("operator", "token", "add", "eve", "--role", "viewer", "--until", "2100-01-01", *admin)
    token_id, token = made.output.split()
    assert token.startswith("sbo_")
    assert token not in command("operator", "token", "list").output
    assert command("operator", "token", "revoke", token_id, *admin).exit_code == 0
    assert command("operator", "password", "eve", *admin, stdin="another long password\n").exit_code == 0
    assert "otpauth://" in command("operator", "totp", "eve", *admin).output
    command("operator", "disable", "eve", *admin)
    assert "disabled" in next(line for line in command("operator", "list").output.splitlines() if "eve" in line)
    assert command("operator", "enable", "eve", *admin).exit_code == 0


def test_treasury_on_the_command_line(desk: Desk, command: Callable[..., Any]) -> None:
    desk.settled()
    view = json.loads(command("treasury", "show", "--read").output)
    assert view["sweep"]["reason"] == ""
    asked = json.loads(command("treasury", "sweep", "--actor", "fay", *WHY).output)
    assert asked["kind"] == "sweep"
    booked = command("treasury", "funded", "1000", "--wallet", "hot", "--txid", "ab" * 32, "--actor", "fay", *WHY)
    assert booked.output == "Booked.\n"


@pytest.mark.parametrize(
    ("treasury", "fault"),
    [
        ({"billing_wallet_id": WALLET}, "the same wallet"),
        ({"cold_addresses": [COLD, COLD.upper()]}, "twice"),
        ({"cold_addresses": ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"]}, "not of the network"),
        ({"sweep_mode": "auto"}, "cold_addresses"),
    ],
)
def test_wallets_in_two_roles_are_a_start_up_error(
    desk: Desk, database_url: str, tmp_path: Path, treasury: dict[str, Any], fault: str
) -> None:
    from pydantic import ValidationError

    from tests.flows.world import settings_for

    with pytest.raises(ValidationError, match=fault):
        settings_for(desk.world.sandbox.url, database_url, treasury=treasury)


def test_the_configuration_knows_no_staking_secret(engine_name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"treasury": {"staking_key": "x"}}))
    with pytest.raises(ConfigError, match=r"treasury\.staking_key"), closing(path.open()):
        load_settings(path, {})


@pytest.mark.parametrize(
    "words", [("payouts", "show", "\udcff"), ("payouts", "approve", "{payout}", "--reason", "\udcff")]
)
def test_a_byte_that_is_no_letter_is_refused(desk: Desk, command: Callable[..., Any], words: tuple[str, ...]) -> None:
    payout = desk.ask(desk.settled())
    who = ("--actor", "ann") if "--reason" in words else ()
    told = command(*(each.format(payout=payout["id"]) for each in words), *who)
    assert (told.exit_code, type(told.exception)) == (1, SystemExit)
    assert told.output == "Error: not_utf8: What is typed must be UTF-8; nothing was written.\n"
    assert desk.now(payout)["approvals"] == []
