"""What people may do they may do on a page, over HTTP and on the command line: every action is in every one of them."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest

import bridge.web
from bridge.actions import ACTIONS, ROWS
from bridge.actions.money import FundingBody
from bridge.actions.row import Command, Form, Row, asked_of
from bridge.cli.group import main
from bridge.core.roles import PERMISSIONS
from bridge.language import languages
from bridge.people.operators import issue_token
from tests.admin.office import PASSWORD, STAFF, Office
from tests.web.conftest import API_KEY

# A restore makes the database that pages and API would need, a purge is the worker's, only sooner; thaw ends that work.
IN_NO_ROW = {"restore", "purge", "thaw", "after-failover"}
# None of daily work, and what has no key by which a repeated call would be one.
WITHOUT_PAGE = {"reconcile baseline", "treasury funded", "treasury moved"}
# A value of what `operator change` does over HTTP; a funding, see above.
WITHOUT_ROUTE = {"operator disable", "operator enable", "treasury funded", "treasury moved"}
# What the billing system's module calls with its own key is nobody's action.
OF_THE_MODULE = "api."
TEMPLATES = Path(bridge.web.__file__).parent / "templates" / "admin"


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


def words_of(row: Row) -> str:
    """The words of its command, made or by hand."""
    return row.command.words if isinstance(row.command, Command) else row.command.name


def test_every_action_is_on_a_page_over_http_and_a_command():
    assert {words_of(row) for row in ACTIONS if row.form is None} == WITHOUT_PAGE
    assert {words_of(row) for row in ACTIONS if row.api is None} == WITHOUT_ROUTE


def test_every_row_says_what_its_caller_needs():
    assert [row.api.path for row in ROWS if row.api and not (row.needs and set(row.needs) <= PERMISSIONS)] == []


def test_every_action_of_the_pages_is_in_the_table(small_office):
    offered = set(posts(small_office, "/admin")) - {"admin.log_in", "admin.log_out"}
    forms = [row.form for row in ACTIONS if row.form]
    assert offered == {f"admin.{form.endpoint if isinstance(form, Form) else form.name}" for form in forms}


def test_every_action_of_the_api_is_in_the_table(small_office):
    known = posts(small_office, "/v1")
    assert {rule for endpoint, rule in known.items() if not endpoint.startswith(OF_THE_MODULE)} == {
        row.api.path for row in ACTIONS if row.api
    }


def test_every_form_is_drawn_by_its_page_or_by_a_template_and_has_its_words():
    forms = [(row.form, list(asked_of(row.asks))) for row in ACTIONS if isinstance(row.form, Form)]
    templates = "".join(path.read_text() for path in TEMPLATES.glob("*.html"))
    by_template = {form.endpoint for form, _ in forms if re.search(rf"(ask\('|admin\.){form.endpoint}'", templates)}
    assert by_template == {form.endpoint for form, _ in forms if form.shown is None}
    for texts in languages().whole.values():
        words, columns = texts.section("desk.forms"), texts.section("desk.columns")
        assert set(words) == {form.endpoint for form, _ in forms if form.shown}
        for form, fields in forms:
            if form.shown:
                assert {"go", "note"} <= set(words[form.endpoint])
                assert {each.name for each in fields} <= {*words[form.endpoint], *columns}, form.endpoint


def test_a_page_draws_a_field_by_what_its_body_says_of_it(small_office):
    jinja = small_office.site.app.jinja_env
    parts = jinja.get_template("admin/parts.html").make_module({"say": lambda _, code: code, "t": str})
    drawn = {each.name: str(parts.input(each, "Label")) for each in asked_of(FundingBody)}
    assert '<select id="role" name="role"><option value="hot">hot</option>' in drawn["role"]
    assert '<input id="sat" name="sat" inputmode="numeric" required autocomplete="off">' in drawn["sat"]
    assert '<input id="txid" name="txid" class="mono" required autocomplete="off" spellcheck="false">' in drawn["txid"]


def test_every_command_that_acts_is_in_the_table_and_asks_who_and_why():
    acting = {name: options for name, options in commands() if {"actor", "reason"} & options}
    assert set(acting) == {words_of(row) for row in ACTIONS} | IN_NO_ROW
    assert [name for name, options in acting.items() if not {"actor", "reason"} <= options] == []


def test_every_command_that_the_table_names_is_there():
    assert {words_of(row) for row in ROWS if row.command} <= {name for name, _ in commands()}


def test_every_body_of_the_api_has_a_reason_that_must_be_given(small_office):
    described = small_office.site.call("GET", "/openapi.json").json
    schemas = described["components"]["schemas"]
    for rule in (row.api.path for row in ACTIONS if row.api):
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
