"""The admin's pages: who may come in, as what, until when, and with which tokens; nobody raises themselves."""

import html
import re

from bridge.people.login import identity_of_token, log_in
from bridge.people.operators import list_tokens, show_operator
from tests.admin.office import PASSWORD, Office, refusal

SECRET = re.compile(r'id="secret">([^<]+)<')


def secret_of(response) -> str:
    """What the answer shows this once."""
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    return html.unescape(SECRET.findall(response.text)[0])


def add(office: Office, name: str = "zoe", **fields: str):
    wanted = {"name": name, "role": "support", "password": PASSWORD, "reason": "hired"} | fields
    return office.fill("root", "/people", "/people/add", **wanted)


def test_a_person_is_added_and_comes_in(office):
    shown = add(office)
    assert secret_of(shown).startswith("otpauth://totp/") and '<svg role="img"' in shown.text
    session = log_in(office.bridge, name="zoe", password=PASSWORD, code=office.code_of("zoe"))
    assert session.identity.role == "support"
    audit = office.see("vic", "/audit?action=operator_added")
    assert "root" in audit and "hired" in audit and "zoe" in audit
    assert secret_of(shown).partition("secret=")[2][:16] not in office.see("root", "/people/zoe")


def test_an_access_is_changed_ended_and_given_back_and_sessions_end_at_once(office):
    office.client("sam")
    page = "/people/sam"
    changed = office.fill("root", page, "/change", role="finance", expires="2100-12-31", reason="promoted")
    assert changed.status_code == 303
    assert office.client("sam").get("/admin/").status_code == 303
    found = show_operator(office.bridge, "sam")
    assert (found["role"], found["expires_at"][:10]) == ("finance", "2100-12-31")
    assert office.fill("root", page, "/change", role="finance", expires="").status_code == 303
    assert show_operator(office.bridge, "sam")["expires_at"] is None
    office.clients.pop("sam")
    office.client("sam")
    assert office.fill("root", page, "/access", reason="left").status_code == 303
    assert office.client("sam").get("/admin/").status_code == 303
    assert not show_operator(office.bridge, "sam")["is_active"]
    assert office.fill("root", page, "/access", reason="came back").status_code == 303
    assert show_operator(office.bridge, "sam")["is_active"]


def test_a_locked_person_is_let_in_again(office):
    office.hire("zoe", "support")
    for _ in range(office.bridge.login.failures_before_lock):
        page = office.site.app.test_client()
        token = re.findall(r'name="form_token" value="([^"]+)"', page.get("/admin/login").text)[0]
        page.post("/admin/login", data={"form_token": token, "name": "zoe", "password": "wrong", "code": "0"})
    assert "locked for now" in office.see("root", "/people/zoe")
    forms = office.client("root").get("/admin/people/zoe").text
    assert 'value="enabled"' in forms and 'value="disabled"' in forms
    csrf = {"access": "enabled", "reason": "it was her"}
    assert office.post("root", "/admin/people/zoe/access", **csrf).status_code == 303
    assert not show_operator(office.bridge, "zoe")["is_locked"]


def test_password_and_secret_are_set_anew(office):
    office.hire("zoe", "support")
    office.client("zoe")
    new = "another long password"
    assert office.fill("root", "/people/zoe", "/password", password=new, reason="forgotten").status_code == 303
    assert office.client("zoe").get("/admin/").status_code == 303
    before = office.code_of("zoe")
    assert secret_of(office.fill("root", "/people/zoe", "/totp", reason="lost")).startswith("otpauth://")
    assert office.code_of("zoe") != before
    assert log_in(office.bridge, name="zoe", password=new, code=office.code_of("zoe"))
    assert refusal(office.fill("root", "/people/zoe", "/password", password="short")) == (422, "weak_password")


def test_a_token_is_shown_once_and_revoked(office):
    shown = office.fill("root", "/people/sam", "/tokens", role="support", ends="2100-01-01", note="a script")
    token = secret_of(shown)
    person = identity_of_token(office.bridge, token)
    assert person is not None and (person.name, person.role) == ("sam", "support")
    page = office.see("root", "/people/sam")
    assert "a script" in page and token not in page
    (kept,) = list_tokens(office.bridge, "sam")
    assert office.fill("root", "/people/sam", "/revoke", reason="leaked").status_code == 303
    assert identity_of_token(office.bridge, token) is None
    assert "revoked" in office.see("root", "/people/sam") and kept["id"] in office.see("root", "/people/sam")


def test_nobody_raises_themselves(small_office):
    office = small_office
    office.hire("rex", "admin")
    page = office.see("root", "/people/root")
    assert "Nobody changes their own access" in page and "/change" not in page and "/access" not in page
    for address, fields in (("change", {"role": "approver"}), ("access", {"access": "enabled"})):
        response = office.post("root", f"/admin/people/root/{address}", reason="me", **fields)
        assert refusal(response) == (403, "own_access")
    assert office.fill("rex", "/people/root", "/change", role="viewer", reason="leaves").status_code == 303
    # Rex is the last one now: nobody may change him, and he may not change himself.
    assert refusal(office.post("rex", "/admin/people/rex/change", role="approver", reason="x"))[1] == "last_admin"


def test_only_an_admin_sees_or_changes_people_and_says_why(small_office):
    for name in ("fay", "sam", "ann", "vic"):
        assert refusal(small_office.client(name).get("/admin/people/vic")) == (403, "forbidden")
        fields = {"role": "admin", "reason": "me"}
        response = small_office.post(name, f"/admin/people/{name}/change", **fields)
        assert refusal(response) == (403, "forbidden")
    assert refusal(add(small_office, reason=" ")) == (422, "actor_and_reason_required")
    assert refusal(add(small_office, expires="tomorrow")) == (422, "bad_day")
    assert refusal(add(small_office, name="fay")) == (409, "operator_exists")
    response = small_office.client("root").get("/admin/people/nobody")
    assert refusal(response) == (404, "no_such_operator")
