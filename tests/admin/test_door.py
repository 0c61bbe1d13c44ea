"""Who gets in, what each role may do, and that a form is only taken from the page it was drawn on."""

import html
import re

import pytest

from bridge.core.roles import ROLES, TWO_PEOPLE, may
from bridge.desk.claims import open_claim
from bridge.web.admin.door import COOKIE, FORM_COOKIE, NEEDS, OPEN, safe_next
from tests.admin.office import DAY, FORM, PASSWORD, STAFF, Office, refusal
from tests.web.conftest import build_site

# Offered only where there is an own wallet or a settings file; tests/payouts and tests/policy look there.
ELSEWHERE = {"admin.own_send", "admin.propose_policy", "admin.approve_policy", "admin.reject_policy"}
ONE_OF = {role: name for name, role in STAFF.items()}


def addresses(office: Office) -> dict[str, tuple[str, str]]:
    """Method and address of every endpoint, with ids of things that exist."""
    late = office.late()
    settled = office.settled()
    payout = office.propose(office.settled("1002", amount="100.00"))
    review = re.findall(r"/admin/reviews/(rev_\w+)", office.see("vic", "/reviews"))[0]
    claim = open_claim(office.bridge, settled["id"], said="I paid twice", actor="sam", reason="the client called")
    ids = {
        "invoice_id": late["id"],
        "claim_id": claim["id"],
        "review_id": review,
        "mark_id": office.mark(review),
        "name": "vic",
        "token_id": office.token("vic"),
        "delivery_id": office.parked(),
        "payout_id": payout,
        "event_id": office.ring(late),
        "run_id": "rec_none",
        "number": "1",
    }
    found = {}
    for rule in office.site.app.url_map.iter_rules():
        if rule.endpoint.startswith("admin."):
            (method,) = rule.methods & {"GET", "POST"}
            found[rule.endpoint] = (method, re.sub(r"<(?:\w+:)?(\w+)>", lambda each: ids[each.group(1)], rule.rule))
    return found


def test_without_the_setting_there_are_no_such_pages(sqlite_url):
    site = build_site(sqlite_url)
    try:
        for path in ("/admin/", "/admin/login", "/admin/audit"):
            assert site.call("GET", path).status_code == 404
    finally:
        site.bridge.store.close()


def test_every_route_has_its_line_in_the_table(small_office):
    routes = {r.endpoint for r in small_office.site.app.url_map.iter_rules() if r.endpoint.startswith("admin.")}
    assert routes == set(NEEDS)
    known = {permission for permissions in ROLES.values() for permission in permissions}
    assert all(needs and set(needs) <= known for needs in NEEDS.values())


def test_every_route_asks_a_stranger_to_log_in(small_office):
    for endpoint, (method, address) in addresses(small_office).items():
        if endpoint in OPEN:
            continue
        response = small_office.site.call(method, address)
        assert (response.status_code, response.location.partition("?")[0]) == (303, "/admin/login"), endpoint


def test_every_route_serves_the_roles_of_its_line_and_no_other(small_office):
    known = addresses(small_office)
    wrong = []
    for role, name in ONE_OF.items():
        for endpoint, (method, address) in known.items():
            if endpoint in OPEN or endpoint == "admin.log_out":
                continue
            client = small_office.client(name)
            response = client.get(address) if method == "GET" else small_office.post(name, address)
            may_pass = any(may(role, permission) for permission in NEEDS[endpoint])
            if (refusal(response) == (403, "forbidden")) == may_pass or response.status_code == 500:
                wrong.append((role, endpoint, response.status_code))
    assert wrong == []


def test_no_page_offers_a_form_that_would_be_refused(small_office):
    known = addresses(small_office)
    adapter = small_office.site.app.url_map.bind("localhost")
    offered = set()
    for role, name in ONE_OF.items():
        for endpoint, (method, address) in known.items():
            if method == "GET" and endpoint not in OPEN:
                for action, body in FORM.findall(small_office.client(name).get(address).text):
                    target, _ = adapter.match(action, method="POST")
                    assert any(may(role, each) for each in NEEDS[target]), (role, endpoint, target)
                    assert f'value="csrf-of-{name}"' in body
                    offered.add(target)
    # Everything that can be done is offered to somebody; a first write-off or sweep too. Own sends need an own wallet.
    assert offered | OPEN | ELSEWHERE >= {endpoint for endpoint, (method, _) in known.items() if method == "POST"}


def test_every_link_of_what_answers_a_form_leads_to_a_page(small_office):
    """The way back and the other language; forms without a reason are refused, and those with a secret answer it."""
    office, known = small_office, addresses(small_office)
    root = office.client("root")
    left_out = ELSEWHERE | OPEN | {"admin.log_out"}
    posted = {name: address for name, (method, address) in known.items() if method == "POST" and name not in left_out}
    answers = {name: office.post("root", address) for name, address in posted.items()}
    answers["secret"] = office.fill("root", "/people", "/people/add", name="zoe", role="viewer", password=PASSWORD)
    answers["token"] = office.fill("root", "/people/zoe", "/tokens", role="viewer", ends="2100-01-01")
    assert answers["secret"].status_code == answers["token"].status_code == 200
    for name, answer in answers.items():
        found = re.findall(r'<a class="button[^"]*" href="([^"]+)"|<a href="([^"]+)" lang=', answer.text)
        assert len(found) >= 2, name
        for link in {html.unescape("".join(each)) for each in found}:
            assert root.get(link, follow_redirects=True).status_code == 200, (name, link)


def test_another_language_keeps_what_the_list_shows(small_office):
    text = html.unescape(small_office.client("vic").get("/admin/deliveries?state=parked&merchant=a%26b").text)
    assert 'href="/admin/deliveries?state=parked&merchant=a%26b&lang=ru"' in text


def test_no_role_can_both_propose_and_approve():
    for propose, approve in TWO_PEOPLE:
        assert not [role for role in ROLES if may(role, propose) and may(role, approve)]


@pytest.mark.parametrize("token", ["", "csrf-of-vic", "ü"])
def test_a_form_without_the_sessions_token_does_nothing(small_office, token):
    delivery = small_office.parked()
    address = f"/admin/deliveries/{delivery}/redeliver"
    response = small_office.post("sam", address, csrf_token=token, reason="because")
    assert refusal(response) == (403, "bad_csrf_token")
    assert small_office.delivery_ids("parked") == [delivery]


def test_a_change_without_a_reason_is_refused(small_office):
    delivery = small_office.parked()
    response = small_office.fill("sam", f"/deliveries/{delivery}", "/redeliver", reason="  ")
    assert refusal(response) == (422, "actor_and_reason_required")
    assert small_office.delivery_ids("parked") == [delivery]


def test_password_and_code_open_a_session_and_the_way_back(small_office):
    small_office.hire("zoe", "support")
    client = small_office.site.app.test_client()
    asked = client.get("/admin/reviews?kind=late")
    page = client.get(asked.location)
    response = client.post("/admin/login", data=filled(small_office, page.text, "zoe"))
    assert (response.status_code, response.location) == (303, "/admin/reviews?kind=late")
    cookie = next(each for each in response.headers.getlist("Set-Cookie") if each.startswith(COOKIE + "="))
    assert {"HttpOnly", "SameSite=Strict", "Path=/admin"} <= {part.strip() for part in cookie.split(";")}
    assert "zoe" in client.get("/admin/").text


def test_the_cookie_is_only_for_https_where_there_is_https(small_office):
    """The office's public address is https, so a visit by name is; a tunnel to loopback is not."""
    public = small_office.site.call("GET", "/admin/login", headers={"Host": "pay.example"})
    tunnel = small_office.site.call("GET", "/admin/login", headers={"Host": "127.0.0.1:8080"})
    assert "Secure" in public.headers["Set-Cookie"] and "Secure" not in tunnel.headers["Set-Cookie"]


def filled(office: Office, page: str, name: str, **fields: str) -> dict[str, str]:
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    return hidden | {"name": name, "password": PASSWORD, "code": office.code_of(name)} | fields


def test_a_code_works_once(small_office):
    small_office.hire("zoe", "support")
    for expected in (303, 401):
        client = small_office.site.app.test_client()
        page = client.get("/admin/login").text
        assert client.post("/admin/login", data=filled(small_office, page, "zoe")).status_code == expected


@pytest.mark.parametrize("name", ["zoe", "nobody"])
def test_guessing_is_told_what_is_left_and_for_how_long_it_is_locked_out(small_office, name):
    small_office.hire("zoe", "support")
    said = []
    client = small_office.site.app.test_client()
    for _ in range(small_office.bridge.login.failures_before_lock):
        page = client.get("/admin/login").text
        code = {"name": name, "password": "wrong"}
        response = client.post("/admin/login", data=filled(small_office, page, "zoe") | code)
        said += re.findall(r'role="alert">(.*?)</p>', response.text.replace("\u00a0", " "))
    limit = small_office.bridge.login.failures_before_lock
    left = [f"{n} attempt{'s' if n > 1 else ''}" for n in range(limit - 1, 0, -1)]
    wait = "Too many wrong tries. The next one is taken in {} minutes."
    assert said == [f"Wrong name, password or code. Left before a pause: {n}." for n in left] + [wait.format(15)]
    small_office.world.clock.advance(120)
    right = client.post(
        "/admin/login", data=filled(small_office, client.get("/admin/login").text, "zoe") | {"name": name}
    )
    assert (right.status_code, wait.format(13) in right.text.replace("\u00a0", " ")) == (401, True)
    small_office.world.clock.advance(small_office.bridge.login.lock_seconds)
    again = client.post("/admin/login", data=filled(small_office, client.get("/admin/login").text, "zoe"))
    assert again.status_code == 303


def test_the_login_form_too_is_only_taken_from_its_page(small_office):
    client = small_office.site.app.test_client()
    client.set_cookie(FORM_COOKIE, "mine", path="/admin")
    response = client.post("/admin/login", data={"name": "fay", "password": "x", "code": "1", "form_token": "theirs"})
    assert response.status_code == 403


def test_a_session_ends_by_itself_by_hand_and_with_its_person(small_office):
    office = small_office
    office.client("vic")
    office.world.clock.advance(office.bridge.login.idle_seconds + 1)
    assert office.client("vic").get("/admin/").status_code == 303
    office.client("sam")
    assert office.fill("sam", "/", "/logout").status_code == 303
    office.client("sam").set_cookie(COOKIE, "session-of-sam", path="/admin")
    assert office.client("sam").get("/admin/").status_code == 303


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/admin/",
        "//evil.example/admin/",
        "/\\evil.example",
        "/admin/\\..",
        "javascript:x",
        "/pay/x",
        "",
    ],
)
def test_the_way_back_never_leads_elsewhere(wanted):
    assert safe_next(wanted) == "/admin/"


def test_a_flood_of_bytes_and_a_nul_are_turned_away(small_office):
    assert small_office.post("sam", "/admin/deliveries/test", reason="x" * 70_000).status_code == 413
    assert small_office.client("sam").get("/admin/search?q=a%00b").status_code == 400


def test_a_lock_of_a_clock_that_was_ahead_lasts_no_longer_than_any(small_office):
    small_office.hire("zoe", "support")
    client, clock = small_office.site.app.test_client(), small_office.world.clock
    clock.advance(3 * DAY)
    for _ in range(small_office.bridge.login.failures_before_lock):
        page = client.get("/admin/login").text
        client.post("/admin/login", data=filled(small_office, page, "zoe", password="wrong"))
    clock.advance(-3 * DAY)
    right = client.post("/admin/login", data=filled(small_office, client.get("/admin/login").text, "zoe"))
    assert right.status_code == 303


def test_a_session_of_a_clock_that_was_ahead_ends_with_that_clock(small_office):
    small_office.world.clock.advance(3 * DAY)
    assert small_office.client("vic").get("/admin/").status_code == 200
    small_office.world.clock.advance(-3 * DAY)
    assert small_office.client("vic").get("/admin/").status_code == 303
