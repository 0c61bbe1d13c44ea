"""The commands of finance, run as a person runs them, and the billing system's reports over HTTP."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from click.testing import CliRunner

from bridge.cli.group import main
from bridge.receipts import new_key
from bridge.runtime import api_keys, build
from bridge.store import archive
from bridge.web import create_app
from tests.books.runs import change, paid, reconcile
from tests.flows.world import settings_for

WHO = ("--actor", "anna", "--reason", "month end")
ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])


@pytest.fixture
def run(world, database_url, tmp_path):
    """One command over the world's database and sandbox."""
    settings = settings_for(world.sandbox.url, database_url, receipt_key=new_key())
    shown = json.loads(settings.model_dump_json())
    secrets = {"token_secret": settings.token_secret, "receipt_key": settings.receipt_key}
    shown |= {name: secret.get_secret_value() for name, secret in secrets.items()}
    shown["subtc"]["key"] = settings.subtc.key.get_secret_value()
    for merchant, original in zip(shown["merchants"], settings.merchants, strict=True):
        merchant["api_keys"] = [key.get_secret_value() for key in original.api_keys]
        merchant["notify_secrets"] = [secret.get_secret_value() for secret in original.notify_secrets]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(shown))

    def command(*words: str):
        return CliRunner().invoke(main, ["--config", str(tmp_path / "config.yaml"), *words])

    return command


@ONE_ENGINE
def test_reconcile_says_clean_then_names_what_differs(world, run):
    invoice = paid(world)
    clean = run("reconcile", *WHO)
    assert (clean.exit_code, "1 invoices, 0 findings" in clean.output) == (0, True), clean.output
    change(world, "UPDATE payments SET amount_sat = amount_sat - 1")
    differs = run("reconcile", "--from", "2020-01-01", *WHO)
    assert differs.exit_code == 2
    assert "output_different" in differs.output and invoice["id"] in differs.output
    runs = run("reconcile", "list").output.splitlines()
    shown = json.loads(run("reconcile", "show", runs[0].split()[0]).output)
    assert shown["summary"][0]["code"] == "output_different"
    change(world, "UPDATE payments SET amount_sat = amount_sat - 1")  # the look after the run put it right
    assert run("reconcile", "--scheduled").exit_code == 2
    assert run("reconcile", "baseline", "5", "--actor", "a", "--reason", "b").exit_code == 0


@pytest.mark.parametrize(("words", "missing"), [((), "--actor"), (("--actor", "anna"), "--reason")])
def test_a_reconciliation_that_nobody_asks_for_is_missing_an_option(words: tuple[str, ...], missing: str):
    result = CliRunner().invoke(main, ["--config", "/nowhere.yaml", "reconcile", *words])
    assert (result.exit_code, f"Error: Missing option '{missing}'." in result.output) == (2, True), result.output


@ONE_ENGINE
def test_files_are_written_whole(world, run, tmp_path):
    invoice = paid(world)
    period = ("--from", "2020-01-01", "--to", "2100-01-01")
    for form in ("csv", "jsonl", "beancount"):
        path = tmp_path / f"books.{form}"
        assert run("export", *period, "--format", form, "--output", str(path)).exit_code == 0
        printed = run("export", *period, "--format", form).output
        assert path.read_text().splitlines() == printed.splitlines() != []
    bundle = tmp_path / "evidence.json"
    assert run("evidence", invoice["id"], "--output", str(bundle)).exit_code == 0
    assert "good" in run("verify-receipt", str(bundle)).output
    assert [path.name for path in tmp_path.glob("*.part")] == []


@ONE_ENGINE
def test_what_cannot_be_written_is_said_in_one_line_and_leaves_no_half(world, run, tmp_path):
    period = ("export", "--from", "2020-01-01", "--to", "2100-01-01", "--kind", "journal", "--output")
    paid(world)
    (full := tmp_path / "full").symlink_to("/dev/full")
    for place, said in (
        (tmp_path / "no" / "books.csv", f"{tmp_path}/no/books.csv.part: No such file or directory"),
        (tmp_path, f"{tmp_path}: Is a directory"),
        (full, "No space left on device"),
    ):
        done = run(*period, str(place))
        assert (done.exit_code, done.output) == (1, f"Error: {said}\n")
    assert full.is_char_device() and list(tmp_path.rglob("*.part")) == []
    key = run("new-receipt-key", str(tmp_path / "config.yaml"))
    assert (key.exit_code, key.output) == (1, f"Error: {tmp_path}/config.yaml: File exists\n")


@ONE_ENGINE
def test_an_export_goes_through_a_pipe(world, run, tmp_path):
    paid(world)
    os.mkfifo(pipe := tmp_path / "pipe")
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        assert run("export", "--from", "2020-01-01", "--to", "2100-01-01", "--output", str(pipe)).exit_code == 0
        assert read.result().startswith("journal_id") and pipe.is_fifo()


def test_thaw_puts_back_what_was_packed(world, run):
    invoice = paid(world)
    world.work()
    bodies = world.rows("SELECT id, body FROM events ORDER BY id")
    with world.bridge.store.write() as tx:
        archive.pack(tx, invoice["id"], now=world.bridge.clock())
    assert {body for _, body in world.rows("SELECT id, body FROM events")} == {""}
    assert "1 invoices were put back." in run("thaw", *WHO).output
    assert world.rows("SELECT id, body FROM events ORDER BY id") == bodies
    assert "0 invoices were put back." in run("thaw", *WHO).output


@ONE_ENGINE
def test_report_and_purge_answer(world, run):
    world.open()
    today = world.bridge.clock().date().isoformat()
    shown = json.loads(run("report", today).output)
    assert shown["counts"]["opened"] == 1
    assert json.loads(run("report", today, "--days", "2").output)["counts"]["opened"] == 1
    assert "bad_period" in run("report", "9999-12-31").output
    assert "Nothing was touched." in run("purge", "--dry-run").output
    assert "actor_and_reason_required" in run("purge").output
    assert "Nothing else was touched." in run("purge", *WHO).output


@ONE_ENGINE
def test_people_read_tables_and_programs_json(world, run, monkeypatch):
    # Paying takes its time, and may end on another day.
    today = world.bridge.clock().date().isoformat()
    invoice = paid(world, customer_id="c1")
    listed = run("invoices", "--merchant", "shop", "--table").output.splitlines()
    assert listed[0].split("  ")[0] == "invoice" and listed[-1] == "1 invoices"
    cells = re.split(" {2,}", listed[1])
    assert cells[:1] + cells[2:4] == [invoice["id"], "settled", invoice["amount"]]
    assert f"{invoice['received_sat']:,}".replace(",", " ") in cells
    page = json.loads(run("invoices", "--merchant", "shop").output)
    assert page == json.loads(run("invoices", "--json", "--merchant", "shop").output)
    assert page["invoices"][0]["id"] == invoice["id"]

    figures = json.loads(run("report", today, "--json").output)["sat"]
    table = run("report", today, "--table").output
    assert re.search(rf"^Received +{figures['received']:,}$".replace(",", " "), table, re.MULTILINE)
    assert re.search(r"^Invoices opened +1$", table, re.MULTILINE)
    assert f"Waiting now = under review and in progress: {figures['closing_waiting']} = " in table
    assert re.search(r"^Открыто счетов +1$", run("report", today, "--table", "--lang", "ru").output, re.MULTILINE)

    found = run("find", invoice["id"]).output.splitlines()
    assert (found[0].split()[0], found[1].split()[0]) == ("invoice", invoice["id"])
    assert json.loads(run("find", invoice["id"], "--json").output)["invoices"][0]["id"] == invoice["id"]
    nothing = run("find", "inv_nothing", "--json")
    assert (nothing.exit_code, json.loads(nothing.stdout)["invoices"]) == (1, [])
    assert "Nothing is known by this" in nothing.stderr
    assert json.loads(run("payouts", "list", "--json").output) == {"payouts": [], "next_cursor": None}


@ONE_ENGINE
def test_a_merchant_is_named_only_where_there_are_several(world, run, tmp_path):
    refused = run("invoices")
    assert refused.exit_code == 1
    assert "several_merchants: Name one with --merchant: other, puller, shop." in refused.output
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    shops = [merchant for merchant in config["merchants"] if merchant["id"] == "other"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | {"merchants": shops}))
    assert run("invoices", "--table").output.splitlines()[-1] == "0 invoices"


@ONE_ENGINE
def test_a_report_comes_in_pages_over_http(world, database_url):
    settings = settings_for(world.sandbox.url, database_url)
    built = build(settings)
    web = create_app(world.bridge, api_keys=api_keys(settings), sign=lambda *_: {}).test_client()
    built.store.close()
    key = {"Authorization": f"Bearer {'k' * 30}"}
    row = {"billing_payment_id": "7", "status": 4, "amount": "10.00", "currency": "USD", "externalid": "inv_lost"}
    page = {"report_id": "r1", "covers_from": "2026-01-01T00:00:00+00:00", "payments": [row], "last": False}
    assert web.post("/v1/billing-statuses", json=page).status_code == 401
    taken = web.post("/v1/billing-statuses", json=page, headers=key)
    assert (taken.status_code, taken.json) == (
        200,
        {"report_id": "r1", "taken": 1, "finished": False, "reads": ["address"]},
    )
    assert web.post("/v1/billing-statuses", json=page | {"last": True, "payments": []}, headers=key).json["finished"]
    [kept] = world.rows("SELECT status, external_id FROM billing_statuses")
    assert tuple(kept) == (4, "inv_lost")
    for wrong in ({"covers_from": "yesterday"}, {"report_id": "a b"}, {"payments": [row | {"status": "4"}]}, {"x": 1}):
        assert web.post("/v1/billing-statuses", json=page | wrong, headers=key).status_code == 422
    too_many = [row | {"billing_payment_id": str(n)} for n in range(501)]
    assert web.post("/v1/billing-statuses", json=page | {"payments": too_many}, headers=key).status_code in (413, 422)


@ONE_ENGINE
def test_the_metrics_page_names_what_finance_watches(world):
    invoice = paid(world, customer_id="c1")
    world.ring(invoice)
    world.work()
    reconcile(world.bridge)
    page = create_app(world.bridge, api_keys={}, sign=lambda *_: {}).test_client().get("/metrics").text
    page = re.sub(r',?process="\d+",?', "", page).replace("{}", "")
    for line in (
        'recon_variance_sat{side="wallet"} 0.0',
        "\nbridge_recon_age_seconds ",
        "bridge_recon_duration_seconds",
        "bridge_settlement_lag_seconds_count 1.0",
        "bridge_first_paid_seconds_count 1.0",
        "bridge_doorbell_seconds_count 1.0",
        'bridge_fees_sat{account="provider_fee"} 0.0',
        'bridge_open_invoices{status="settled"} 1.0',
    ):
        assert line in page, line
