"""Alert rules and dashboard: correct to promtool, and about metrics that exist.

Owns the checks of deploy/monitoring; the runbooks they lead to are checked in test_runbooks.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bridge.cli import operations
from bridge.metrics import Metrics
from bridge.upkeep.check import OWNERS, Alert

PLACE = Path(__file__).parents[2] / "deploy" / "monitoring"
# Set by Prometheus itself for every target.
OF_PROMETHEUS = {"up"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=PLACE, capture_output=True, text=True)


def panels() -> list[dict]:
    return json.loads((PLACE / "dashboard.json").read_text())["panels"]


def rules() -> list[dict]:
    return yaml.safe_load((PLACE / "rules.yml").read_text())["groups"][0]["rules"]


def records() -> list[dict]:
    return yaml.safe_load((PLACE / "rules.yml").read_text())["groups"][1]["rules"]


def textfile(tmp_path: Path, tripped: list[Alert]) -> str:
    operations._write_textfile(tmp_path / "check.prom", tripped, OWNERS)
    return (tmp_path / "check.prom").read_text()


def known_metrics(tmp_path: Path) -> set[str]:
    """Every name of the exposition format, with the suffixes that histograms and counters get."""
    text = Metrics().text().decode() + textfile(tmp_path, [])
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names |= {name + suffix for suffix in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names


def metrics_of(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", expression)
    without_labels = re.sub(r"\{[^}]*\}|\b(?:by|on) \([^)]*\)", "", bare)
    words = set(re.findall(r"\b[a-z_]{2,}\b(?!\s*\()", without_labels))
    return words - {"or", "and", "by", "on", "sum", "max", "min", "time", "absent", "le"}


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_promtool_has_nothing_to_complain_about(command):
    done = promtool(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_unit_test_that_fires_it():
    tested = yaml.safe_load((PLACE / "rules_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}


def test_every_alert_is_about_metrics_that_exist(tmp_path):
    known = known_metrics(tmp_path) | OF_PROMETHEUS
    for rule in rules():
        assert metrics_of(rule["expr"]), rule["alert"]
        assert metrics_of(rule["expr"]) <= known, rule["alert"]


def test_an_alert_prints_a_value_as_a_whole_number():
    texts = [text for rule in rules() for text in rule["annotations"].values() if "$value" in text]
    assert len(texts) >= 5
    for text in texts:
        assert re.findall(r"{{[^}]*\$value[^}]*}}", text) == ['{{ printf "%.0f" $value }}'], text


def test_the_dashboard_shows_counts_and_satoshi_as_whole_numbers():
    units = {panel["title"]: panel["fieldConfig"]["defaults"] for panel in panels()}
    assert units["Balance by wallet"]["decimals"] == 0
    assert [title for title, unit in units.items() if unit["unit"] == "none" and unit.get("decimals") != 0] == []
    assert {unit["unit"] for unit in units.values()} <= {"none", "s", "reqps"}  # none that shortens 12345678 to 12 Mil


def test_the_five_figures_of_the_requirements_are_recorded_by_name(tmp_path):
    lag, tickets, signatures, gas, variance = [rule["record"] for rule in records()]
    assert (lag, tickets) == ("settlement_lag_seconds", "support_tickets_per_100_invoices")
    assert (signatures, gas, variance) == ("failed_signature_rate", "gas_spend_sat", "reconciliation_variance_sat")
    for rule in records():
        without_matching = re.sub(r"ignoring\([^)]*\)|group_left", "", rule["expr"])
        assert metrics_of(without_matching) <= known_metrics(tmp_path), rule["record"]


def test_web_and_worker_are_scraped_where_the_site_serves_them():
    jobs = yaml.safe_load((PLACE / "prometheus.yml").read_text())["scrape_configs"]
    paths = {job.get("metrics_path", "/metrics") for job in jobs if job["job_name"].startswith("subtc-bridge")}
    site = (PLACE.parent / "nginx" / "subtc-bridge.conf").read_text()
    assert paths == {"/metrics", "/worker/metrics"}
    assert all(f"location = {path} {{" in site for path in paths)
    example = yaml.safe_load((PLACE.parents[1] / "config.example.yaml").read_text())
    assert f"proxy_pass http://{example['worker_listen']}/metrics;" in site


def test_every_panel_is_about_metrics_that_exist(tmp_path):
    known = known_metrics(tmp_path)
    for panel in panels():
        for target in panel["targets"]:
            assert metrics_of(target["expr"]), panel["title"]
            assert metrics_of(target["expr"]) <= known, panel["title"]


def test_every_expression_of_the_dashboard_is_promql(tmp_path):
    recorded = [
        {"record": f"panel:{panel['id']}", "expr": target["expr"]} for panel in panels() for target in panel["targets"]
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = promtool("check", "rules", str(tmp_path / "panels.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_lies_on_a_grid_and_names_no_data_source_of_its_own():
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels()]
    assert len(set(places)) == len(panels()) == len({p["id"] for p in panels()})
    assert {p["datasource"]["uid"] for p in panels()} == {"${source}"}


def test_labels_are_bounded():
    """No label takes a value that a stranger chooses: no ids, addresses, paths."""
    collectors = Metrics().registry._collector_to_names
    names = {label for collector in collectors for label in getattr(collector, "_labelnames", ())}
    bounded = {"merchant", "to", "outcome", "kind", "status", "state", "side", "role", "account", "verdict"}
    assert names <= bounded | {"queue", "currency", "measure", "limit", "rail"}


def test_the_check_writes_every_rule_for_node_exporter(tmp_path):
    text = textfile(tmp_path, [Alert(rule="hot_balance", detail="too much", owner="finance")])
    assert 'bridge_check_tripped{rule="hot_balance",owner="finance"} 1\n' in text
    assert text.count(" 0\n") == len(OWNERS) - 1
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_metrics_of_the_bridge_are_well_formed():
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=Metrics().text().decode(), capture_output=True, text=True
    )
    # promtool also has opinions on naming; what it must not have is trouble reading.
    assert "error while linting" not in done.stderr


def test_the_command_offers_the_file():
    assert "--textfile" in CliRunner().invoke(operations.check, ["--help"]).output
