"""What people may do they may do on a page, over HTTP and on the command line: every action is in every one of them."""

from collections.abc import Iterator
from datetime import timedelta

import click
import pytest

from bridge.cli import main
from bridge.flows.operators import issue_token
from tests.admin.office import PASSWORD, STAFF, Office
from tests.web.conftest import API_KEY

# Page, API, command. An action without a page is none of daily work.
EVERYWHERE = [
    ("admin.check_invoice", "/v1/invoices/<invoice_id>/check", "recheck"),
    ("admin.give_time", "/v1/invoices/<invoice_id>/grace", "grace grant"),
    ("admin.propose_refund", "/v1/invoices/<invoice_id>/refunds", "refunds request"),
    ("admin.replay_callback", "/v1/events/<event_id>/replay", "events replay"),
    ("admin.resolve_review", "/v1/reviews/<review_id>/resolve", "review resolve"),
    ("admin.approve_manual_mark", "/v1/marks/<mark_id>/approve", "marks approve"),
    ("admin.reject_manual_mark", "/v1/marks/<mark_id>/reject", "marks reject"),
    ("admin.redeliver_one", "/v1/deliveries/<delivery_id>/redeliver", "deliveries redeliver"),
    ("admin.test_event", "/v1/test-events", "deliveries test"),
    ("admin.approve", "/v1/payouts/<payout_id>/approve", "payouts approve"),
    ("admin.reject", "/v1/payouts/<payout_id>/reject", "payouts reject"),
    ("admin.set_address", "/v1/payouts/<payout_id>/address", "payouts address"),
    ("admin.own_send", "/v1/payouts/<payout_id>/sent", "payouts sent"),
    ("admin.sweep", "/v1/sweeps", "treasury sweep"),
    ("admin.write_off", "/v1/write-offs", "treasury write-off"),
    ("admin.reconcile_now", "/v1/reconciliations", "reconcile"),
    (None, "/v1/wallet-baseline", "reconcile baseline"),
    ("admin.propose_policy", "/v1/policy/versions", "policy propose"),
    ("admin.approve_policy", "/v1/policy/versions/<int:number>/approve", "policy approve"),
    ("admin.reject_policy", "/v1/policy/versions/<int:number>/reject", "policy reject"),
    ("admin.switch", "/v1/modes", "mode"),
    ("admin.add_person", "/v1/operators", "operator add"),
    ("admin.change_person", "/v1/operators/<name>/change", "operator change"),
    ("admin.set_access", "/v1/operators/<name>/change", "operator disable"),
    ("admin.set_access", "/v1/operators/<name>/change", "operator enable"),
    ("admin.set_password", "/v1/operators/<name>/password", "operator password"),
    ("admin.renew_totp", "/v1/operators/<name>/totp", "operator totp"),
    ("admin.issue_token", "/v1/operators/<name>/tokens", "operator token add"),
    ("admin.revoke_token", "/v1/operator-tokens/<token_id>/revoke", "operator token revoke"),
]
# A restore makes the database that pages and API would need, a purge is the worker's, only sooner, and a funding has no key
# by which a repeated call would be one.
ONLY_COMMANDS = {"restore", "purge", "treasury funded"}
# What the billing system's module calls with its own key is nobody's action.
OF_THE_MODULE = "api."


def commands(group: click.Group = main, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command by its words, with its options."""
    for name, command in group.commands.items():
        yield f"{path}{name}", {option.name for option in command.params}
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


def posts(office: Office, prefix: str) -> dict[str, str]:
    """Endpoint to address of everything that is posted there."""
    rules = office.site.app.url_map.iter_rules()
    return {rule.endpoint: rule.rule for rule in rules if "POST" in rule.methods and rule.rule.startswith(prefix)}


def test_every_action_of_the_pages_is_in_the_table(small_office):
    offered = set(posts(small_office, "/admin")) - {"admin.log_in", "admin.log_out"}
    assert offered == {page for page, _, _ in EVERYWHERE if page}


def test_every_action_of_the_api_is_in_the_table(small_office):
    known = posts(small_office, "/v1")
    assert {rule for endpoint, rule in known.items() if not endpoint.startswith(OF_THE_MODULE)} == {
        rule for _, rule, _ in EVERYWHERE
    }


def test_every_command_that_acts_is_in_the_table_and_asks_who_and_why():
    acting = {name: options for name, options in commands() if {"actor", "reason"} & options}
    assert set(acting) == {name for _, _, name in EVERYWHERE} | ONLY_COMMANDS
    assert [name for name, options in acting.items() if not {"actor", "reason"} <= options] == []


def test_every_body_of_the_api_has_a_reason_that_must_be_given(small_office):
    described = small_office.site.call("GET", "/openapi.json").json
    schemas = described["components"]["schemas"]
    for _, rule, _ in EVERYWHERE:
        path = rule.replace("<int:", "<").replace("<", "{").replace(">", "}")
        body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert "reason" in schemas[body.rpartition("/")[2]]["required"], path


SURE, EARLY, LATE = "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"
WHY = {"reason": "a test"}
PERSON = WHY | {"name": "zoe", "role": "viewer", "password": PASSWORD}
TOKEN = WHY | {"role": "viewer", "ends_at": SURE}
REPORT = {"report_id": "r1", "covers_from": SURE, "payments": [], "last": True}


@pytest.mark.parametrize("at", [EARLY, LATE])
@pytest.mark.parametrize(
    ("who", "path", "field", "others"),
    [
        ("", "/v1/billing-statuses", "covers_from", REPORT),
        ("ann", "/v1/invoices/inv_1/grace", "ends_at", WHY),
        ("fay", "/v1/reconciliations", "from", WHY),
        ("fay", "/v1/reconciliations", "to", WHY),
        ("root", "/v1/operators", "expires_at", PERSON),
        ("root", "/v1/operators/vic/change", "expires_at", WHY),
        ("root", "/v1/operators/vic/tokens", "starts_at", TOKEN),
        ("root", "/v1/operators/vic/tokens", "ends_at", TOKEN),
    ],
)
def test_a_time_outside_of_the_calendar_is_its_fields_fault(small_office, who, path, field, others, at):
    bridge, key = small_office.bridge, API_KEY
    if who:
        period = {"starts_at": None, "ends_at": bridge.clock() + timedelta(days=1)}
        key = issue_token(bridge, operator=who, role=STAFF[who], **period, note="", actor="root", **WHY).token
    answer = small_office.site.api("POST", path, others | {field: at}, Authorization=f"Bearer {key}")
    assert (answer.status_code, answer.json["code"], answer.json.get("field")) == (422, "invalid_field", field)
