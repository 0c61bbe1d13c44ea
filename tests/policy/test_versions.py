"""What a changed settings file leads to: nothing without approval, on no node, before and after a restart."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from bridge.books.verify import verify_audit
from bridge.context import Bridge
from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.people.operators import change_operator
from bridge.people.policy import approve, in_force, list_versions, propose, reject, show_policy, show_version, take_file
from tests.policy.conftest import STAFF, Nodes, hire, risk, risk_of


def statuses(bridge: Bridge) -> list[tuple[int, str, str]]:
    rows = list_versions(bridge)["versions"]
    return [(row["number"], row["status"], row["proposed_by"]) for row in reversed(rows)]


def audited(bridge: Bridge) -> list[tuple[str, str, str]]:
    with bridge.store.read() as tx:
        rows = tx.execute(text("SELECT actor, action, policy_version FROM audit ORDER BY id")).all()
    return [tuple(row) for row in rows if row.action.startswith("policy_")]


def test_the_first_start_adopts_the_file(node: Bridge) -> None:
    assert (node.policy_number, risk_of(node)) == (1, 100)
    assert statuses(node) == [(1, "active", "config")]
    assert audited(node) == [("config", "policy_adopted", "1")]
    assert node.merchants["shop"].policy.version == "1"


def test_a_restart_with_the_same_file_is_no_change(node: Bridge, nodes: Nodes) -> None:
    assert nodes(**risk(100)).policy_number == 1
    assert len(audited(node)) == 1


def test_without_approvals_an_edited_file_is_in_force_at_once(nodes: Nodes) -> None:
    nodes()
    edited = nodes(policy={"default": {"risk_bps": 300}})
    assert (edited.policy_number, risk_of(edited)) == (2, 300)
    (change,) = show_version(edited, 2)["changes"]
    assert change == {"setting": "merchants.shop.policy.default.risk_bps", "before": "100", "after": "300"}
    assert audited(edited)[-1] == ("config", "policy_changed", "2")
    back = nodes()
    assert (back.policy_number, risk_of(back)) == (3, 100)


def test_an_edit_is_not_in_force_before_two_people_approved_what_nobody_signed(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    assert (edited.policy_number, risk_of(edited)) == (1, 100)
    assert statuses(node) == [(1, "active", "config"), (2, "proposed", "config")]
    assert approve(edited, 2, actor="ann", reason="the market is wild")["status"] == "proposed"
    assert risk_of(in_force(edited)) == 100
    assert approve(edited, 2, actor="bob", reason="agreed")["status"] == "active"
    for each in (node, edited, nodes(**risk(300))):
        assert (in_force(each).policy_number, risk_of(in_force(each))) == (2, 300)
    assert statuses(node) == [(1, "superseded", "config"), (2, "active", "config")]


def test_a_signed_proposal_needs_one_person_besides(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    made = propose(edited, actor="fay", reason="the market is wild")
    assert (made["number"], made["approvals_needed"]) == (3, 1)
    assert statuses(node) == [(1, "active", "config"), (2, "superseded", "config"), (3, "proposed", "fay")]
    assert approve(edited, 3, actor="ann", reason="agreed")["status"] == "active"
    assert in_force(node).merchants["shop"].policy.version == "3"
    assert audited(node)[-1] == ("ann", "policy_approved", "3")


def test_every_start_of_every_node_keeps_what_is_in_force(node: Bridge, nodes: Nodes) -> None:
    for _ in range(3):
        assert nodes(**risk(300)).policy_number == 1
    assert len(statuses(node)) == 2, "the same content is proposed once"
    other = nodes(**risk(400))
    assert (other.policy_number, risk_of(other)) == (1, 100)
    waiting = [row for row in statuses(node) if row[1] == "proposed"]
    assert waiting == [(3, "proposed", "config")], "the newer edit takes the older one's place"


def test_a_program_that_only_looks_proposes_nothing(node: Bridge, nodes: Nodes) -> None:
    looking = in_force(nodes(takes=False, **risk(300)))
    assert (looking.policy_number, risk_of(looking), len(statuses(node))) == (1, 100, 1)
    assert show_policy(looking)["file"] == "edited"


def test_asking_for_fewer_people_needs_the_people(node: Bridge, nodes: Nodes) -> None:
    lowered = nodes(policy={"default": {"risk_bps": 5_000}})
    assert (lowered.policy_number, risk_of(lowered)) == (1, 100)
    changes = {each["setting"]: each["after"] for each in show_policy(lowered)["proposed"][0]["changes"]}
    assert changes == {"approvals": "0", "merchants.shop.policy.default.risk_bps": "5000"}


def test_prices_payouts_treasury_and_a_new_merchant_wait_too(node: Bridge, nodes: Nodes) -> None:
    cold = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
    edited = nodes(
        **risk(100), payouts={"approvals_above": 1, "cooling_seconds": 0}, treasury={"cold_addresses": [cold]}
    )
    assert edited.payouts == node.payouts and edited.treasury == node.treasury
    approve(edited, 2, actor="ann", reason="ok")
    approve(edited, 2, actor="bob", reason="ok")
    now = in_force(node)
    assert (now.payouts.cooling_seconds, now.treasury.cold_addresses) == (0, (cold,))


def test_a_rejected_edit_is_not_asked_again(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    assert reject(edited, 2, actor="ann", reason="too much")["status"] == "rejected"
    again = nodes(**risk(300))
    assert (risk_of(again), show_policy(again)["file"], len(statuses(node))) == (100, "rejected", 2)
    assert propose(again, actor="fay", reason="I insist")["status"] == "proposed"


def test_the_proposer_may_take_it_back(node: Bridge, nodes: Nodes) -> None:
    made = propose(nodes(takes=False, **risk(300)), actor="fay", reason="maybe")
    assert reject(node, made["number"], actor="fay", reason="rather not")["decided_by"] == "fay"


def test_the_same_person_never_proposes_and_approves(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(takes=False, **risk(300))
    made = propose(edited, actor="fay", reason="for me")
    change_operator(edited, "fay", role="approver", actor="root", reason="promoted")
    with pytest.raises(Refused) as refused:
        approve(edited, made["number"], actor="fay", reason="mine")
    assert refused.value.code == "same_person"
    assert in_force(edited).policy_number == 1


def test_one_person_twice_is_one_person(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    approve(edited, 2, actor="ann", reason="ok")
    with pytest.raises(Refused) as refused:
        approve(edited, 2, actor="ann", reason="ok again")
    assert refused.value.code == "same_person"


@pytest.mark.parametrize(("actor", "code"), [("fay", "forbidden"), ("vic", "forbidden"), ("eve", "unknown_operator")])
def test_only_approvers_approve(node: Bridge, nodes: Nodes, actor: str, code: str) -> None:
    edited = nodes(**risk(300))
    with pytest.raises(Refused) as refused:
        approve(edited, 2, actor=actor, reason="ok")
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("actor", "code"), [("ann", "forbidden"), ("vic", "forbidden"), ("eve", "unknown_operator"), ("config", "bad_name")]
)
def test_only_finance_proposes(node: Bridge, nodes: Nodes, actor: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        propose(nodes(takes=False, **risk(300)), actor=actor, reason="please")
    assert refused.value.code == code


def test_every_step_says_who_and_why(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    for step in (lambda: approve(edited, 2, actor="ann", reason=" "), lambda: propose(edited, actor="", reason="x")):
        with pytest.raises(Refused) as refused:
            step()
        assert refused.value.code == "actor_and_reason_required"


def test_what_is_decided_or_unknown_cannot_be_decided(node: Bridge, nodes: Nodes) -> None:
    with pytest.raises(Conflict, match="active"):
        approve(node, 1, actor="ann", reason="ok")
    with pytest.raises(Refused) as refused:
        reject(node, 9, actor="ann", reason="ok")
    assert refused.value.code == "unknown_policy"
    with pytest.raises(Conflict) as conflict:
        propose(node, actor="fay", reason="the same")
    assert conflict.value.code == "nothing_to_propose"


def test_what_waited_goes_when_another_version_comes_into_force(node: Bridge, nodes: Nodes) -> None:
    first = propose(nodes(takes=False, **risk(300)), actor="fay", reason="three")
    second = propose(nodes(takes=False, **risk(400)), actor="fay", reason="four")
    approve(node, second["number"], actor="ann", reason="ok")
    assert show_version(node, first["number"])["status"] == "superseded"
    with pytest.raises(Conflict):
        approve(node, first["number"], actor="bob", reason="too late")


def test_the_audit_keeps_before_and_after_of_every_setting(node: Bridge, nodes: Nodes) -> None:
    edited = nodes(**risk(300))
    approve(edited, 2, actor="ann", reason="ok")
    approve(edited, 2, actor="bob", reason="ok")
    with edited.store.read() as tx:
        rows = tx.execute(
            text("SELECT actor, action, detail FROM audit WHERE action LIKE 'policy_%' ORDER BY id")
        ).all()
    expected = {"setting": "merchants.shop.policy.default.risk_bps", "before": "100", "after": "300"}
    told = [(row.actor, row.action, json.loads(row.detail)["changes"]) for row in rows[1:]]
    assert told == [
        ("config", "policy_proposed", [expected]),
        ("ann", "policy_approval_given", [expected]),
        ("bob", "policy_approved", [expected]),
    ]


def test_history_is_kept_by_the_database_itself(node: Bridge, nodes: Nodes) -> None:
    nodes(**risk(300))
    for statement in (
        "UPDATE policy_versions SET document = '{}' WHERE number = 2",
        "UPDATE policy_versions SET proposed_by = 'ann' WHERE number = 2",
        "DELETE FROM policy_versions",
    ):
        with pytest.raises(DBAPIError, match="append-only"), node.store.write() as tx:
            tx.execute(text(statement))
    given = "INSERT INTO policy_approvals (number, proposed_by, actor, reason, at) VALUES (2, :by, :who, 'x', 1)"
    for by, who in (("config", "config"), ("eve", "ann")):
        with pytest.raises(IntegrityError), node.store.write() as tx:
            tx.execute(text(given), {"by": by, "who": who})
    with pytest.raises(IntegrityError), node.store.write() as tx:
        tx.execute(text("UPDATE policy_versions SET status = 'active', decided_by = 'config' WHERE number = 2"))


def forge(bridge: Bridge, statement: str) -> None:
    """Somebody with the right to change the schema takes the guard away first."""
    with bridge.store.write() as tx:
        if bridge.store.is_postgresql:
            tx.execute(text("ALTER TABLE policy_versions DISABLE TRIGGER policy_versions_frozen"))
        else:
            tx.execute(text("DROP TRIGGER policy_versions_frozen_update"))
        tx.execute(text(statement))


def test_an_altered_version_is_found_and_never_comes_into_force(node: Bridge, nodes: Nodes) -> None:
    assert verify_audit(node).is_intact
    forge(node, "UPDATE policy_versions SET document = replace(document, 'accept', 'review')")
    report = verify_audit(node)
    assert (report.is_intact, "policy version 1" in report.detail) == (False, True)
    with pytest.raises(Unavailable) as refused:
        in_force(nodes(takes=False, **risk(100)))
    assert refused.value.code == "policy_altered"


def test_a_version_that_nobody_made_active_is_found(node: Bridge, nodes: Nodes) -> None:
    nodes(**risk(300))
    with node.store.write() as tx:
        tx.execute(text("UPDATE policy_versions SET status = 'superseded' WHERE number = 1"))
        tx.execute(text("UPDATE policy_versions SET status = 'active', decided_by = 'x' WHERE number = 2"))
    assert "version 2 is active, and nobody made it so" in verify_audit(node).detail


def test_a_file_with_a_setting_that_cannot_work_is_no_version(node: Bridge, nodes: Nodes) -> None:
    """A document of a later release, say: this program refuses to put it in force."""
    edited = nodes(**risk(300))
    assert edited.policy_file is not None

    def unreadable(_document: str) -> dict:
        raise Unavailable("policy_unreadable", "no")

    blind = replace(edited, policy_file=replace(edited.policy_file, terms_of=unreadable))
    with pytest.raises(Unavailable):
        approve(blind, 2, actor="ann", reason="ok")
    assert take_file(edited).policy_number == 1


def test_a_merchant_that_no_version_knows_is_not_served(nodes: Nodes) -> None:
    first = nodes(**risk(100))
    hire(first, STAFF)
    edited = nodes(**risk(100), shop={"id": "shop2"})
    assert sorted(edited.merchants) == ["other", "puller"]


def test_a_key_in_a_price_sources_address_stays_out_of_the_version(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import yaml

    from bridge.config import load_settings, policy_terms, resolved

    settings = yaml.safe_load(json.dumps(settings_json()))
    url = "https://${env:PRICE_HOST}/price?key=${env:PRICE_KEY}&currency={currency}"
    settings["prices"] = {"min_sources": 1, "sources": [{"name": "a", "url": url, "pointer": "/p"}]}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("PRICE_HOST", "prices.example")
    monkeypatch.setenv("PRICE_KEY", "s3cret")
    read = load_settings(path)
    assert "s3cret" not in policy_terms(read).document()
    assert "https://prices.example/price?key=${env:PRICE_KEY}" in policy_terms(read).document()
    assert resolved(read.prices.sources[0].url).startswith("https://prices.example/price?key=s3cret&")


def settings_json() -> dict:
    return {
        "network": "test",
        "database_url": "sqlite:///x",
        "public_url": "http://127.0.0.1:9",
        "token_secret": "t" * 32,
        "subtc": {"base_url": "http://127.0.0.1:1", "key": "SUBTC-KEY-" + "a" * 48, "wallet_id": "wt_" + "b" * 44},
        "merchants": [
            {
                "id": "shop",
                "api_keys": ["k" * 30],
                "currencies": ["USD"],
                "notify_secrets": ["whsec_" + "A" * 32],
            }
        ],
    }


def test_when_a_way_is_offered_is_part_of_the_version_where_it_is_said_and_only_there(
    node: Bridge, nodes: Nodes
) -> None:
    """A release that does not know the setting goes on reading what does not use it."""
    assert node.policy_file is not None and "offering" not in node.policy_file.document
    edited = nodes(**risk(100), shop={"offering": {"lightning": {"most_sat": 5_000}}})
    assert statuses(edited)[-1][1] == "proposed"
    approve(edited, 2, actor="ann", reason="ok")
    approve(edited, 2, actor="bob", reason="ok")
    rules = in_force(edited).merchants["shop"].offering
    assert [(way, rule.most_sat) for way, rule in rules.items()] == [("lightning", 5_000)]
