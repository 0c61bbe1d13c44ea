"""The CGI host behind Debian's nginx, with TLS on loopback: real headers on their real way to the module."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.billmanager import Running, serve_in_thread
from tests.deploy.site import free_port, wait_until_open
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, SECRET, STUB

CONFIGURATION = """
{user} daemon off; pid {place}/nginx.pid; error_log {place}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {place}/cert.pem; ssl_certificate_key {place}/key.pem;
    location / {{
      proxy_pass {panel};
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Front:
    """The panel as the internet sees it."""

    url: str
    certificate: str
    panel: str
    running: Running
    bridge: FakeBridge

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"verify": self.certificate, "timeout": 30, "allow_redirects": False} | options
        return requests.request(method, self.url + path, **options)

    def control(self, method: str, path: str, **body: Any) -> Any:
        return requests.request(method, f"{self.panel}/_control/{path}", json=body or None, timeout=30).json()

    def push(self, event: dict[str, Any], *, secret: str = SECRET, **options: Any) -> requests.Response:
        body = json.dumps(event).encode()
        signed = self.bridge.signed(body, secret=secret, event_id=event["id"])
        headers = {name[5:].replace("_", "-").lower(): value for name, value in signed.items()}
        sent = options.pop("data", body)
        return self.call("POST", "/mancgi/subtcresult", data=sent, headers=headers, **options)


@pytest.fixture
def front(tmp_path: Path, bridge: FakeBridge) -> Iterator[Front]:
    port, panel_port = free_port(), free_port()
    subject = ["-subj", "/CN=billing.example", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", "req", "-x509", *curve, *subject], cwd=tmp_path, check=True, capture_output=True)
    url, panel = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{panel_port}"
    options = {"module_trees": [STUB], "tick_seconds": 0, "port": panel_port, "public_url": url}
    with serve_in_thread(tmp_path / "mgr5", **options) as running:
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIGURATION.format(user=user, place=tmp_path, port=port, panel=panel)
        (tmp_path / "nginx.conf").write_text(text)
        command = ["nginx", "-e", f"{tmp_path}/error.log", "-p", str(tmp_path), "-c", f"{tmp_path}/nginx.conf"]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_until_open(port, program)
            yield Front(url=url, certificate=f"{tmp_path}/cert.pem", panel=panel, running=running, bridge=bridge)
        finally:
            program.terminate()
            program.communicate(timeout=10)


def test_an_order_is_paid_through_the_proxy(front: Front) -> None:
    """BILLmanager contract 7: session by cookie, body on stdin, redirects and statuses survive the proxy."""
    settings = {"subtc_bridge_url": front.bridge.url, "subtc_api_key": KEY, "subtc_notify_secret": SECRET}
    made = front.control("POST", "setup", module="pmsubtc", currencies=["RUB"], settings=settings)
    assert made["paymethods"]
    order = front.control("POST", "order", product="vps", amount="10.00", currency="RUB")
    elid = str(order["payment_id"])
    assert order["pay_url"].startswith(front.url)

    assert front.call("GET", order["pay_path"]).status_code == 403
    page = front.call("GET", order["pay_path"], cookies={order["cookie"]: order["session"]})
    assert page.status_code == 302, page.text
    assert page.headers["Location"].startswith(front.bridge.url)

    event = front.bridge.event("settled", elid, status="settled", received_sat=15_924)
    assert front.push(event, secret="whsec_" + "AAAA" * 8).status_code == 401
    assert front.push(event, data=b"x" * 70_000).status_code == 413
    assert front.push(event).status_code == 200
    assert front.push(event).status_code == 200
    assert front.control("GET", f"payments/{elid}")["status"] == 4
    history = front.control("GET", f"payments/{elid}/history")["history"]
    assert [row["status_new"] for row in history].count(4) == 1


def test_the_module_sees_the_headers_that_the_proxy_set(front: Front) -> None:
    front.call("GET", "/mancgi/subtcpayment?elid=1", headers={"X-Real-IP": "203.0.113.9"})
    run = front.control("GET", "records?kind=cgi")["records"][-1]
    assert run["environment"]["HTTP_X_REAL_IP"] == "127.0.0.1"
    assert run["environment"]["HTTP_X_FORWARDED_PROTO"] == "https"
