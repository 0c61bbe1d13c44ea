"""Operators: roles, passwords, one-time codes, sessions, tokens, lock-out, and the rule of two people."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.core.credentials import STEP_SECONDS, hash_password, is_password, totp
from bridge.core.errors import BridgeError, Conflict, Refused
from bridge.core.roles import PERMISSIONS, ROLES, TWO_PEOPLE, may
from bridge.payouts.decide_payout import approve_payout
from bridge.people.login import LoginFailed, Session, identity_of_token, log_in, log_out, session_of
from bridge.people.operators import (
    add_operator,
    change_operator,
    issue_token,
    list_operators,
    list_tokens,
    renew_totp,
    revoke_token,
    set_password,
)
from tests.flows.world import World
from tests.payouts.desk import Desk, part_paid

# The engine cannot change any of this; races between people are in test_sending.py.
pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])
PASSWORD = "correct horse battery"


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(BridgeError) as error:
        action()
    return error.value.code


class Person:
    """Somebody with a password and a telephone."""

    def __init__(self, world: World, name: str, role: str, *, actor: str = "root"):
        self.world, self.name = world, name
        actor = "setup" if role == "admin" else actor
        url = add_operator(
            world.bridge, name=name, role=role, password=PASSWORD, expires_at=None, actor=actor, reason="hired"
        )
        self.take_secret(url)

    def take_secret(self, url: str) -> None:
        encoded = parse_qs(urlsplit(url).query)["secret"][0]
        self.secret = base64.b32decode(encoded + "=" * (-len(encoded) % 8))

    def code(self, *, later: int = 0) -> str:
        return totp(self.secret, int(self.world.bridge.clock().timestamp()) // STEP_SECONDS + later)

    def log_in(self, *, password: str = PASSWORD, code: str | None = None) -> Session:
        given = self.code() if code is None else code
        return log_in(self.world.bridge, name=self.name, password=password, code=given)


@pytest.fixture
def root(world: World) -> Person:
    return Person(world, "root", "admin")


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds()


def test_no_role_can_both_propose_and_approve(engine_name: str) -> None:
    for propose, approve in TWO_PEOPLE:
        assert [r for r in ROLES if may(r, propose) and may(r, approve)] == []
        assert [r for r in ROLES if may(r, propose)] and [r for r in ROLES if may(r, approve)]
    # Whatever is approved has its line, so that a new kind of approval cannot be forgotten here.
    assert {approve for _, approve in TWO_PEOPLE} == {p for p in PERMISSIONS if p.endswith(".approve")}
    assert {p for permissions in ROLES.values() for p in permissions} == PERMISSIONS


def test_the_published_vectors_of_one_time_codes_come_out(engine_name: str) -> None:
    """RFC 6238, appendix B, SHA-1, cut to six digits."""
    secret = b"12345678901234567890"
    vectors = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {at: totp(secret, at // 30) for at in vectors} == vectors


def test_a_stored_password_opens_only_to_itself(engine_name: str) -> None:
    stored = hash_password("пароль с пробелами", salt=b"s" * 16)
    assert is_password("пароль с пробелами", stored)
    assert not is_password("пароль с пробелами ", stored)
    assert "пароль" not in stored


def test_a_session_opens_with_password_and_code_and_ends_by_itself(root: Person) -> None:
    bridge = root.world.bridge
    opened = root.log_in()
    seen = session_of(bridge, opened.token)
    assert (seen.identity.name, seen.identity.role) == ("root", "admin")
    seen.check_csrf(opened.csrf_token)
    assert refused(lambda: seen.check_csrf("")) == "bad_csrf_token"
    root.world.advance(bridge.login.idle_seconds + 1)
    assert refused(lambda: session_of(bridge, opened.token)) == "unauthorized"


def test_a_used_session_lives_on_until_its_end(root: Person) -> None:
    bridge, opened = root.world.bridge, root.log_in()
    for _ in range(bridge.login.session_seconds // 1_500):
        root.world.advance(1_500)
        session_of(bridge, opened.token)
    root.world.advance(1_500)
    assert refused(lambda: session_of(bridge, opened.token)) == "unauthorized"


def test_logging_out_ends_the_session_at_once(root: Person) -> None:
    opened = root.log_in()
    log_out(root.world.bridge, opened.token)
    assert refused(lambda: session_of(root.world.bridge, opened.token)) == "unauthorized"


@pytest.mark.parametrize("wrong", [{"password": "wrong horse battery"}, {"code": "000000"}, {"code": ""}])
def test_either_half_alone_opens_nothing(root: Person, wrong: dict[str, str]) -> None:
    assert refused(lambda: root.log_in(**wrong)) == "login_failed"


def test_a_code_works_once(root: Person) -> None:
    code = root.code()
    root.log_in(code=code)
    assert refused(lambda: root.log_in(code=code)) == "login_failed"
    root.world.advance(60)
    root.log_in()


def test_a_clock_that_is_half_a_minute_off_still_gets_in(root: Person) -> None:
    root.log_in(code=root.code(later=1))


def tried(root: Person, name: str, *, password: str = "a guess of yours") -> tuple[int, int | None]:
    """What a wrong log-in is told: how many tries are left, and how long none is taken."""
    with pytest.raises(LoginFailed) as failed:
        log_in(root.world.bridge, name=name, password=password, code="123456")
    return failed.value.left, failed.value.retry_after_seconds


@pytest.mark.parametrize("name", ["root", "nobody", "gone"])
def test_guessing_is_told_what_is_left_and_locked_out_whoever_has_the_name(root: Person, name: str) -> None:
    bridge = root.world.bridge
    Person(root.world, "gone", "support")
    change_operator(bridge, "gone", is_active="disabled", actor="root", reason="left")
    limit, pause = bridge.login.failures_before_lock, bridge.login.lock_seconds
    assert [tried(root, name) for _ in range(limit)] == [
        *((left, None) for left in range(limit - 1, 0, -1)),
        (0, pause),
    ]
    root.world.advance(pause - 60)
    for password in ("another guess", PASSWORD):
        left, wait = tried(root, name, password=password)
        assert (left, 0 < (wait or 0) <= 60) == (0, True)
    if name == "root":
        assert refused(root.log_in) == "login_failed"
        assert next(each for each in list_operators(bridge) if each["name"] == "root")["is_locked"]
    root.world.advance(61)
    assert tried(root, name) == (limit - 1, None)


def test_a_log_in_or_an_admin_gives_all_tries_back(root: Person) -> None:
    bridge = root.world.bridge
    sam = Person(root.world, "sam", "support")
    limit = bridge.login.failures_before_lock
    assert [tried(root, "sam")[0] for _ in range(2)] == [limit - 1, limit - 2]
    sam.log_in()
    assert tried(root, "sam") == (limit - 1, None)
    while tried(root, "sam")[0]:
        pass
    change_operator(bridge, "sam", is_active="enabled", actor="root", reason="it was me")
    assert tried(root, "sam") == (limit - 1, None)


def test_an_unknown_name_is_answered_like_a_wrong_password(root: Person) -> None:
    assert tried(root, "nobody", password=PASSWORD) == tried(root, "root")
    kept = root.world.rows("SELECT name_key FROM login_tries")
    assert len(kept) == 2 and "nobody" not in str(kept)


def test_the_first_operator_is_an_admin_and_only_admins_add_more(world: World) -> None:
    assert refused(lambda: Person(world, "sam", "support", actor="setup")) == "first_is_admin"
    Person(world, "root", "admin")
    Person(world, "sam", "support")
    assert refused(lambda: Person(world, "eve", "approver", actor="sam")) == "forbidden"
    assert refused(lambda: Person(world, "eve", "approver", actor="somebody")) == "unknown_operator"


@pytest.mark.parametrize("name", ["worker", "policy", "payer", "module:shop", "Anna", "a", "a b"])
def test_nobody_is_named_like_a_part_of_the_bridge(root: Person, name: str) -> None:
    assert refused(lambda: Person(root.world, name, "support")) == "bad_name"


def test_a_short_password_is_refused(root: Person) -> None:
    wanted = {"role": "support", "expires_at": None, "actor": "root", "reason": "hired"}
    short = lambda: add_operator(root.world.bridge, name="sam", password="hunter2", **wanted)  # noqa: E731
    assert refused(short) == "weak_password"


def test_disabling_ends_sessions_tokens_and_rights_at_once(root: Person) -> None:
    bridge = root.world.bridge
    sam = Person(root.world, "sam", "support")
    opened, made = sam.log_in(), token_of(root, "sam", "support")
    change_operator(bridge, "sam", is_active="disabled", actor="root", reason="left")
    assert refused(lambda: session_of(bridge, opened.token)) == "unauthorized"
    assert identity_of_token(bridge, made) is None
    assert refused(sam.log_in) == "login_failed"
    assert refused(lambda: root_cannot_go(root)) == "last_admin"


def root_cannot_go(root: Person) -> None:
    change_operator(root.world.bridge, "root", is_active="disabled", actor="root", reason="mistake")


def test_an_access_with_an_end_ends(root: Person) -> None:
    bridge = root.world.bridge
    sam = Person(root.world, "sam", "support")
    opened = sam.log_in()
    change_operator(bridge, "sam", expires_at=bridge.clock() + timedelta(days=1), actor="root", reason="temporary")
    assert refused(lambda: session_of(bridge, opened.token)) == "unauthorized"
    root.world.advance(60)
    sam.log_in()
    root.world.advance(86_400)
    assert refused(sam.log_in) == "login_failed"


def test_a_new_password_ends_old_sessions(root: Person) -> None:
    opened = root.log_in()
    set_password(root.world.bridge, "root", password="another long password", actor="root", reason="yearly")
    assert refused(lambda: session_of(root.world.bridge, opened.token)) == "unauthorized"
    root.world.advance(60)
    root.log_in(password="another long password")


def test_a_lost_telephone_gets_a_new_secret(root: Person) -> None:
    old = root.code()
    root.take_secret(renew_totp(root.world.bridge, "root", actor="root", reason="lost"))
    assert refused(lambda: root.log_in(code=old)) == "login_failed"
    root.log_in()


def token_of(root: Person, operator: str, role: str, *, days: int = 1) -> str:
    now = root.world.bridge.clock()
    made = issue_token(
        root.world.bridge,
        operator=operator,
        role=role,
        starts_at=None,
        ends_at=now + timedelta(days=days),
        note="for a script",
        actor="root",
        reason="automation",
    )
    return made.token


def test_a_token_has_a_start_an_end_and_can_be_revoked(root: Person) -> None:
    bridge = root.world.bridge
    now = bridge.clock()
    wanted = {"operator": "root", "role": "viewer", "note": "", "actor": "root", "reason": "later"}
    later = issue_token(bridge, starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2), **wanted)
    assert identity_of_token(bridge, later.token) is None
    root.world.advance(3_700)
    person = identity_of_token(bridge, later.token)
    assert person is not None
    assert (person.name, person.role, person.via) == ("root", "viewer", f"token:{later.id}")
    revoke_token(bridge, later.id, actor="root", reason="leaked")
    assert identity_of_token(bridge, later.token) is None
    assert refused(lambda: revoke_token(bridge, later.id, actor="root", reason="again")) == "unknown_token_id"
    assert refused(lambda: issue_token(bridge, starts_at=None, ends_at=now, **wanted)) == "bad_period"


def test_a_token_never_does_what_its_person_may_not(root: Person) -> None:
    Person(root.world, "sam", "support")
    assert refused(lambda: token_of(root, "sam", "approver")) == "role_not_theirs"
    made = token_of(root, "sam", "support")
    change_operator(root.world.bridge, "sam", role="approver", actor="root", reason="promoted")
    person = identity_of_token(root.world.bridge, made)
    assert person is not None and person.role == "viewer"


def test_no_secret_is_in_the_database(root: Person) -> None:
    made = token_of(root, "root", "viewer")
    opened = root.log_in()
    everything = ""
    for table in ("operators", "operator_sessions", "operator_tokens", "audit"):
        everything += str(root.world.rows(f"SELECT * FROM {table}"))
    for secret in (PASSWORD, made, opened.token, base64.b32encode(root.secret).decode(), root.secret.hex()):
        assert secret not in everything
    assert made not in str(list_tokens(root.world.bridge))


def test_the_same_person_never_approves_what_they_proposed(desk: Desk) -> None:
    """Not even after a change of role."""
    payout = desk.ask(desk.settled())
    change_operator(desk.world.bridge, "fay", role="approver", actor="root", reason="promoted")
    assert refused(lambda: desk.approve(payout, "fay")) == "same_person"
    assert desk.approve(payout, "ann")["state"] == "approved"


@pytest.mark.parametrize("actor", ["fay", "sam", "root", "vic"])
def test_only_approvers_approve(desk: Desk, actor: str) -> None:
    payout = desk.ask(desk.settled(), actor="sam" if actor != "sam" else "fay")
    assert refused(lambda: desk.approve(payout, actor)) == "forbidden"


def test_who_named_the_address_does_not_approve_it(desk: Desk) -> None:
    from bridge.payouts.refunds import change_address
    from tests.payouts.desk import TAPROOT

    payout = desk.ask(desk.settled())
    change_address(desk.world.bridge, payout["id"], address=TAPROOT, actor="sam", reason="the client wrote")
    change_operator(desk.world.bridge, "sam", role="approver", actor="root", reason="promoted")
    assert refused(lambda: desk.approve(payout, "sam")) == "same_person"


def test_large_sums_need_two_approvers_besides_the_proposer(desks: Callable[..., Desk]) -> None:
    desk = desks(payouts={"approvals": [{"up_to_sat": 60_000, "people": 1}], "approvals_above": 2})
    payout = desk.ask(desk.settled())
    assert desk.approve(payout, "ann")["state"] == "requested"
    assert refused(lambda: desk.approve(payout, "ann")) == "same_person"
    assert desk.send() == 0
    assert desk.approve(payout, "bob")["state"] == "approved"
    assert refused(lambda: desk.approve(payout, "bob")) == "not_waiting"


def test_a_write_without_who_or_why_is_refused(desk: Desk) -> None:
    payout = desk.ask(desk.settled())
    for actor, reason in (("", "why"), ("ann", " ")):
        approving = lambda a=actor, r=reason: approve_payout(desk.world.bridge, payout["id"], actor=a, reason=r)  # noqa: E731
        assert refused(approving) == "actor_and_reason_required"


def test_rulings_that_credit_money_are_for_finance(desk: Desk) -> None:
    rule = part_paid(desk).rule
    assert refused(lambda: rule("mark_settled", "sam")) == "forbidden"
    assert refused(lambda: rule("mark_settled", "ann")) == "forbidden"
    assert refused(lambda: rule("refund", "vic")) == "forbidden"
    assert rule("mark_invalid", "fay")["status"] == "invalid"


def test_approving_needs_operators_even_where_everything_else_does_not(worlds: Callable[..., World]) -> None:
    desk = Desk(world=worlds())
    invoice = desk.settled()
    payout = desk.ask(invoice, "custom", net_sat=60_000, actor="anybody")
    assert refused(lambda: desk.approve(payout, "somebody")) == "unknown_operator"


def test_an_operator_is_added_once(root: Person) -> None:
    Person(root.world, "sam", "support")
    with pytest.raises(Conflict):
        Person(root.world, "sam", "approver")
    with pytest.raises(Refused):
        change_operator(root.world.bridge, "sam", role="king", actor="root", reason="coup")
