"""What the world can reach through nginx, and what it cannot.

Owns the enumeration of every route of the application against the shipped configuration.
"""

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import text

from tests.deploy.site import NGINX, Front, certify, configuration, front
from tests.web.conftest import API_KEY

GROW = NGINX.parents[1] / "docs" / "grow-to-postgresql.md"
# What a payer, a payer's browser and the gateway need. A new route is inside until it is listed here and in the file.
OPEN_TO_THE_WORLD = {
    "/pay/<public_id>",
    "/pay/<public_id>/status",
    "/pay/<public_id>/quote",
    "/pay/<public_id>/way",
    "/pay/<public_id>/receipt",
    "/pay/<public_id>/refund",
    "/pay/<public_id>/receipt.json",
    "/.well-known/subtc-bridge-receipt-key",
    "/callbacks/subtc/<token>",
    "/callbacks/lnbits/<token>",
    "/static/<path:filename>",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, sqlite_template) -> Iterator[Front]:
    place = tmp_path_factory.mktemp("front")
    database = place / "bridge.db"
    database.write_bytes(sqlite_template.read_bytes())
    with front(place / "nginx", f"sqlite:///{database}") as opened:
        yield opened


def several_nodes(shipped: str) -> str:
    """The site with the three changes of the guide for several nodes."""
    upstream, again, once = re.findall(r"```nginx\n(.*?)```", GROW.read_text(), re.DOTALL)
    changed, upstreams = re.subn(r"upstream subtc_bridge \{.*?\n\}\n", upstream, shipped, flags=re.DOTALL)
    changed, offs = re.subn(r" *proxy_next_upstream off;\n", again, changed)
    changed, locations = re.subn(r" *location /admin \{.*\}\n", once, changed)
    assert (upstreams, offs, locations) == (1, 2, 1)
    return changed


def test_nginx_takes_the_site_with_the_changes_for_several_nodes(tmp_path):
    ports = {"plain": 8081, "public": 8082, "inside": 8083, "bridge": 8084}
    (tmp_path / "www").mkdir()
    certify(tmp_path)
    written = several_nodes(configuration(tmp_path, ports, allow="allow 127.0.0.1;"))
    assert written.count("10.0.0.1") == 2
    (tmp_path / "nginx.conf").write_text(written)
    done = subprocess.run(
        ["nginx", "-t", "-e", str(tmp_path / "error.log"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def routes(running: Front) -> list[tuple[str, str, str]]:
    """Method, rule and a path of every route that the application serves."""
    found = []
    for rule in running.site.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?\w+>", "abc123", rule.rule)
        found += [(method, rule.rule, path) for method in sorted(rule.methods - {"HEAD", "OPTIONS"})]
    return found


def reached(running: Front, calls: list[tuple[str, str, str]], *, server: str) -> set[tuple[str, str]]:
    """The methods and rules whose requests the application saw, by its own header."""
    seen = set()
    for method, rule, path in calls:
        answer = running.call(method, path, server=server, headers={"Authorization": f"Bearer {API_KEY}"}, data=b"")
        if "X-Robots-Tag" in answer.headers:
            seen.add((method, rule))
    return seen


def test_the_world_reaches_the_payers_pages_and_the_doorbell_and_nothing_else(running):
    """With every method that a route has: a form that is shown and not taken helps nobody."""
    open_to_it = {(method, rule) for method, rule, _ in routes(running) if rule in OPEN_TO_THE_WORLD}
    assert {rule for _, rule in open_to_it} == OPEN_TO_THE_WORLD
    assert reached(running, routes(running), server="public") == open_to_it


def test_the_inside_reaches_the_api_and_not_the_payers_doorbell(running):
    seen = {rule for _, rule in reached(running, routes(running), server="inside")}
    assert {"/v1/invoices", "/v1/events", "/v1/check", "/healthz", "/readyz", "/metrics", "/openapi.json"} <= seen
    assert not any(rule.startswith(("/pay/", "/callbacks/")) for rule in seen)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/admin/",
        "/v1/invoices",
        "/metrics",
        "/healthz",
        "/pay/../v1/invoices",
        "/pay/%2e%2e/v1/invoices",
        "/pay/abc/../../metrics",
        "//metrics",
        "/callbacks/subtc/../../healthz",
        "/static/../../config.yaml",
        "/.well-known/../../nginx.conf",
    ],
)
def test_no_detour_leads_inside(running, path):
    assert raw_status(running, f"GET {path} HTTP/1.1") in {400, 403, 404}


def test_who_is_not_listed_gets_nothing_from_the_inside(tmp_path, sqlite_url):
    with front(tmp_path / "nginx", sqlite_url, allow="allow 192.0.2.10;\n") as closed:
        for path in ("/v1/events", "/healthz", "/admin/"):
            assert closed.call("GET", path, server="inside").status_code == 403


def test_a_payers_page_comes_with_every_header(running):
    invoice = running.site.open("2001")
    path = invoice["payment_url"].removeprefix(running.site.bridge.public_url)
    answer = running.call("GET", path)
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Server"] == "nginx"


def test_a_payers_page_comes_packed_and_an_operators_does_not(running):
    invoice = running.site.open("2003")
    path = invoice["payment_url"].removeprefix(running.site.bridge.public_url)
    packed = {"Accept-Encoding": "gzip"}
    for place in (path, f"{path}/status", "/static/pay.js"):
        with requests.Session() as session:
            session.trust_env = False
            url = f"https://127.0.0.1:{running.ports['public']}{place}"
            answer = session.get(url, headers=packed, verify=str(running.place / "cert.pem"), timeout=10, stream=True)
            sent = len(answer.raw.read(decode_content=False))
        whole = len(running.call("GET", place, headers={"Accept-Encoding": "identity"}).content)
        assert answer.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in answer.headers["Vary"]
        assert 2 * sent < whole, place
    etag = running.call("GET", f"{path}/status", headers=packed).headers["ETag"].removeprefix("W/")
    assert running.call("GET", f"{path}/status", headers=packed | {"If-None-Match": etag}).status_code == 304
    assert "Content-Encoding" not in running.call("GET", "/openapi.json", server="inside", headers=packed).headers


def test_plain_http_only_sends_to_https(running):
    answer = running.call("GET", "/pay/abc", server="plain")
    assert (answer.status_code, answer.headers["Location"]) == (308, "https://127.0.0.1/pay/abc")


def test_old_tls_is_refused(running):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises((ssl.SSLError, OSError)),
        socket.create_connection(("127.0.0.1", running.ports["public"])) as raw,
    ):
        context.wrap_socket(raw)


def test_a_body_over_the_limit_ends_at_the_door(running):
    answer = running.call("POST", "/callbacks/subtc/abc", data=b"x" * 66_000)
    assert answer.status_code == 413
    assert "X-Robots-Tag" not in answer.headers


def test_a_callback_keeps_only_its_token_from_the_log(running):
    running.call("POST", "/callbacks/subtc/very-secret-token", data=b"{}")
    running.call("GET", "/pay/very-secret-page/status")
    time.sleep(0.1)
    assert "very-secret" not in running.log()
    assert "POST /callbacks/subtc/- " in running.log()
    assert "GET /pay/-/status " in running.log()


def test_the_key_of_the_api_never_travels_through_the_public_door(running):
    bridge = running.site.bridge
    path = "/callbacks/subtc/" + bridge.callback_token(running.site.open("2002")["id"])
    assert running.call("POST", path, headers={"Authorization": "Bearer stolen"}, data=b"{}").status_code == 200
    with bridge.store.read() as tx:
        kept = "".join(tx.execute(text("SELECT headers FROM inbox")).scalars())
    assert "authorization" not in kept
    assert "stolen" not in kept


@pytest.mark.parametrize(("path", "at_most"), [("/pay/flooded/quote", 10), ("/pay/flooded", 30)])
def test_a_flood_is_answered_by_nginx_alone(running, path, at_most):
    answers = [running.call("GET", path).status_code for _ in range(at_most + 20)]
    assert answers.count(429) >= 10
    assert sum(status != 429 for status in answers) <= at_most


def test_a_slow_client_holds_no_thread_of_the_bridge():
    rules = (NGINX / "subtc-bridge.conf").read_text()
    assert rules.count("client_body_timeout 10s;") == rules.count("client_header_timeout 10s;") == 2


def test_well_known_files_are_served(running):
    answer = running.call("GET", "/.well-known/security.txt")
    assert (answer.status_code, "Contact:" in answer.text) == (200, True)
    assert running.call("POST", "/.well-known/security.txt").status_code == 403


def raw_status(running: Front, line: str) -> int:
    """The status of a request line as written: a client library would tidy the path."""
    context = ssl.create_default_context(cafile=str(running.place / "cert.pem"))
    with (
        socket.create_connection(("127.0.0.1", running.ports["public"]), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="pay.example.com") as secured,
    ):
        secured.sendall(f"{line}\r\nHost: pay.example.com\r\nConnection: close\r\n\r\n".encode())
        return int(secured.recv(4096).split()[1])
