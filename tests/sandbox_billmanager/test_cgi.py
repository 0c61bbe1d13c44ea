"""The CGI host: variables, quirks, answers, faults. It adds no authentication."""

import time
from pathlib import Path

import pytest

from tests.sandbox_billmanager.driver import Billing, echoed


def test_the_script_sees_the_standard_variables(billing: Billing) -> None:
    headers = {
        "Cookie": "billmgrses5=abc%3Ax",
        "Authorization": "Basic eDp5",
        "X-Real-IP": "203.0.113.9",
        "X-Foo-Bar": "1",
    }
    env = echoed(billing.cgi("echo?elid=7&auth=s%20id", headers=headers))["env"]
    assert (env["GATEWAY_INTERFACE"], env["REQUEST_METHOD"], env["QUERY_STRING"]) == (
        "CGI/1.1",
        "GET",
        "elid=7&auth=s%20id",
    )
    assert (env["SCRIPT_NAME"], env["REQUEST_URI"]) == ("/mancgi/echo", "/mancgi/echo?elid=7&auth=s%20id")
    assert (env["REMOTE_ADDR"], env["HTTP_X_REAL_IP"], env["HTTP_X_FOO_BAR"]) == ("127.0.0.1", "203.0.113.9", "1")
    assert (env["HTTP_COOKIE"], env["HTTP_AUTHORIZATION"]) == ("billmgrses5=abc%3Ax", "Basic eDp5")
    assert env["HTTP_HOST"] == f"127.0.0.1:{env['SERVER_PORT']}" and "HTTPS" not in env


def test_the_body_arrives_on_stdin_with_its_length_and_type(billing: Billing) -> None:
    seen = echoed(billing.cgi("echo", method="POST", data={"elid": "7", "text": "я"}))
    assert seen["body"] == "elid=7&text=%D1%8F"
    assert seen["env"]["CONTENT_LENGTH"] == str(len(seen["body"]))
    assert seen["env"]["CONTENT_TYPE"] == "application/x-www-form-urlencoded"


def test_the_quirk_of_a_length_only_under_its_http_name(billing: Billing) -> None:
    billing.knobs(cgi_content_length="http_only")
    seen = echoed(billing.cgi("echo", method="POST", data="abc"))
    assert "CONTENT_LENGTH" not in seen["env"]
    assert (seen["env"]["HTTP_CONTENT_LENGTH"], seen["body"]) == ("3", "abc")


def test_the_quirk_of_content_headers_without_http(billing: Billing) -> None:
    headers = {"Content-Signature": "sig"}
    assert echoed(billing.cgi("echo", headers=headers))["env"]["HTTP_CONTENT_SIGNATURE"] == "sig"
    billing.knobs(cgi_content_headers="bare")
    env = echoed(billing.cgi("echo", headers=headers))["env"]
    assert env["CONTENT_SIGNATURE"] == "sig" and "HTTP_CONTENT_SIGNATURE" not in env


def test_https_working_directory_and_a_closed_environment(billing: Billing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "1")
    billing.knobs(cgi_https="on", cgi_cwd="cgi")
    seen = echoed(billing.cgi("echo", headers={"Proxy": "http://evil.example"}))
    assert seen["env"]["HTTPS"] == "on" and seen["cwd"].endswith("/cgi")
    assert "LEAKED" not in seen["env"] and "HTTP_PROXY" not in seen["env"]
    assert seen["env"]["MGR5_BASE"] == str(billing.running.base)


@pytest.mark.parametrize("name", ["nothing", "../sbin/mgrctl", "a/b", ".hidden", "plain"])
def test_only_plain_names_of_executables_are_served(billing: Billing, name: str) -> None:
    plain = Path(billing.running.base) / "cgi/plain"
    plain.write_text("#!/bin/sh\necho\n")
    plain.chmod(0o644)
    assert billing.cgi(name.replace("/", "%2F")).status_code == 404


def test_status_and_location_become_the_answer(billing: Billing) -> None:
    moved = billing.cgi("echo?moved")
    assert (moved.status_code, moved.headers["Location"], moved.headers["X-Foo"]) == (
        302,
        "https://pay.example/x",
        "bar",
    )
    refused = billing.cgi("echo?crlf")
    assert (refused.status_code, refused.reason, refused.text) == (401, "Unauthorized", "no\r\n\r\nreally")


def test_bare_html_is_tolerated_and_refused_in_strict_mode(billing: Billing) -> None:
    bare = billing.cgi("echo?bare")
    assert (bare.status_code, bare.headers["Content-Type"], bare.text) == (200, "text/html", "<html>bare</html>")
    billing.knobs(cgi_mode="strict")
    assert billing.cgi("echo?bare").status_code == 500
    assert billing.cgi("echo?moved").status_code == 302


def test_no_output_a_failing_exit_and_a_hanging_script(billing: Billing) -> None:
    billing.knobs(cgi_timeout_s=0.5)
    assert [billing.cgi(f"echo?{query}").status_code for query in ("empty", "fail", "hang")] == [500, 500, 504]


def test_every_run_is_recorded_with_input_and_output(billing: Billing) -> None:
    billing.cgi("echo?bare", method="POST", data="body")
    run = billing.control("GET", "records?kind=cgi&name=echo")["records"][-1]
    assert (run["stdin"], run["stdout"], run["rc"]) == ("body", "<html>bare</html>", 0)
    assert run["environment"]["QUERY_STRING"] == "bare"


def test_planned_faults_strike_scripts(billing: Billing) -> None:
    for kind in ("dead", "lost", "slow", "duplicate"):
        billing.fault(target="cgi", kind=kind, name="echo", seconds=0.2)
    assert [billing.cgi("echo?bare").status_code for _ in range(2)] == [502, 502]
    begun = time.monotonic()
    assert billing.cgi("echo?bare").status_code == 200 and time.monotonic() - begun >= 0.2
    before = len(billing.control("GET", "records?kind=cgi")["records"])
    assert billing.cgi("echo?bare").status_code == 200
    assert len(billing.control("GET", "records?kind=cgi")["records"]) == before + 2
