"""Four ways to say who calls, and what each caller may see."""

from tests.sandbox_billmanager.driver import Billing, error, message

KEY = "made-up-login-key-0001"


def user_of(document: object) -> str | None:
    element = document.find("user")  # type: ignore[attr-defined]
    return None if element is None else element.get("name")


def test_authinfo_works_per_call(billing: Billing) -> None:
    assert user_of(billing.api("whoami", authinfo="demo:demo")) == "demo"


def test_a_session_works_as_a_parameter(billing: Billing) -> None:
    granted = billing.api("auth", username="demo", password="demo").find("auth")
    assert granted is not None and granted.text == granted.get("id") and granted.get("level") == "16"
    assert user_of(billing.api("whoami", auth=granted.text)) == "demo"


def test_a_session_works_as_a_cookie_cut_at_the_colon_after_decoding(billing: Billing) -> None:
    sid = billing.control("POST", "session", user="other")["session"]
    for value in (sid, f"{sid}:dragon", f"{sid}%3Adragon"):
        assert user_of(billing.api("whoami", cookies={"billmgrses5": value})) == "other"


def test_a_key_made_by_the_administrator_logs_a_client_in(billing: Billing) -> None:
    assert billing.api("session.newkey", username="demo", key=KEY, authinfo="admin:admin").find("ok") is not None
    granted = billing.api("auth", username="demo", key=KEY, checkcookie="no")
    assert user_of(billing.api("whoami", auth=granted.findtext("auth"))) == "demo"
    assert error(billing.api("auth", username="other", key=KEY)) == ("auth", "badkey")


def test_a_short_key_and_a_key_made_by_a_client_are_refused(billing: Billing) -> None:
    assert error(billing.api("session.newkey", username="demo", key="short", authinfo="admin:admin")) == (
        "value",
        "key",
    )
    refused = billing.api("session.newkey", username="demo", key=KEY, authinfo="demo:demo")
    assert error(refused) == ("access", "session.newkey")


def test_authinfo_wins_over_auth_and_auth_over_the_cookie(billing: Billing) -> None:
    demo = billing.control("POST", "session", user="demo")["session"]
    other = billing.control("POST", "session", user="other")["session"]
    cookies = {"billmgrses5": other}
    assert user_of(billing.api("whoami", auth=demo, cookies=cookies)) == "demo"
    assert user_of(billing.api("whoami", authinfo="admin:admin", auth=demo, cookies=cookies)) == "admin"


def test_a_wrong_password_is_the_contracts_error(billing: Billing) -> None:
    document = billing.api("whoami", authinfo="demo:wrong")
    assert error(document) == ("auth", "badpassword")
    assert message(document) == "Invalid username or password"
    params = document.findall("error/param")
    assert [(p.get("name"), p.get("type"), p.text) for p in params] == [
        ("object", "msg", "badpassword"),
        ("value", None, "remote_addr: [127.0.0.1]"),
    ]


def test_nobody_gets_auth_and_a_client_gets_access_for_an_administrators_function(billing: Billing) -> None:
    assert error(billing.api("payment"))[0] == "auth"
    assert error(billing.api("payment.setpaid", elid=1, authinfo="demo:demo")) == ("access", "payment.setpaid")


def test_a_session_ends_after_an_idle_hour_but_not_while_it_is_used(billing: Billing) -> None:
    sid = billing.control("POST", "session")["session"]
    for _ in range(2):
        billing.control("POST", "clock", advance_s=3000)
        assert user_of(billing.api("whoami", auth=sid)) == "demo"
    billing.control("POST", "clock", advance_s=3601)
    assert error(billing.api("whoami", auth=sid)) == ("auth", "badsession")


def test_authinfo_can_be_kept_to_some_addresses(billing: Billing) -> None:
    billing.knobs(authinfo_allow="10.0.0.0/8")
    assert error(billing.api("whoami", authinfo="demo:demo")) == ("auth", "badaddress")
    billing.knobs(authinfo_allow="10.0.0.0/8, 127.0.0.1")
    assert user_of(billing.api("whoami", authinfo="demo:demo")) == "demo"


def test_an_administrator_can_act_as_a_client_and_a_client_cannot(billing: Billing) -> None:
    assert user_of(billing.api("whoami", authinfo="admin:admin", su="demo")) == "demo"
    assert error(billing.api("whoami", authinfo="demo:demo", su="admin")) == ("access", "su")


def test_whoami_tells_everything_a_module_needs(billing: Billing) -> None:
    sid = billing.control("POST", "session")["session"]
    document = billing.mgrctl("whoami", auth=sid)
    user = document.find("user")
    assert user is not None
    assert dict(user.items()) == {
        "id": "4",
        "level": "16",
        "name": "demo",
        "realname": "Demo Client",
        "email": "client@example.com",
        "account": "1",
        "lang": "en",
        "balance": "0.00",
        "currency": "RUB",
        "currency_id": "126",
    }
    assert [part.tag for part in document] == ["user", "path", "mgr", "version", "tparams", "saved_filters"]
    assert document.find("tparams/auth") is None
    assert error(billing.mgrctl("whoami", auth="stale")) == ("auth", "badsession")


def test_mgrctl_with_a_session_lists_only_the_payments_of_that_client(ready: Billing) -> None:
    mine, foreign = ready.order(), ready.order(user="other")
    listed = ready.mgrctl("payment", filter="on", id=mine["payment_id"], auth=mine["session"])
    assert [row.findtext("id") for row in listed.findall("elem")] == [str(mine["payment_id"])]
    assert ready.mgrctl("payment", filter="on", id=foreign["payment_id"], auth=mine["session"]).find("elem") is None
    assert len(ready.mgrctl("payment").findall("elem")) == 2


def test_secrets_are_not_echoed(billing: Billing) -> None:
    echoed = billing.api("whoami", authinfo="demo:demo", lang="en").find("tparams")
    assert echoed is not None and [part.tag for part in echoed] == ["lang", "out", "func"]
