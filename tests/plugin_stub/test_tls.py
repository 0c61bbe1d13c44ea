"""The bridge's certificate is checked, always (BILLmanager contract 14.16)."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import Panel
from tests.plugin_stub.test_settings_form import error, form


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("tls")
    for name, subject in (("good", "IP:127.0.0.1"), ("other", "DNS:other.example")):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(where / f"{name}.key"), "-out", str(where / f"{name}.pem"), "-days", "2"]
        command += ["-subj", "/CN=bridge", "-addext", f"subjectAltName={subject}"]
        subprocess.run(command, check=True, capture_output=True)
    return where


@pytest.fixture(params=["good", "other"])
def secure(request: pytest.FixtureRequest, certificates: Path, bridge: FakeBridge) -> Iterator[tuple[str, Path]]:
    """The bridge behind TLS: once with a certificate for its address, once with one for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = certificates / f"{request.param}.pem"
    context.load_cert_chain(pem, certificates / f"{request.param}.key")
    bridge.server.socket = context.wrap_socket(bridge.server.socket, server_side=True)
    bridge.server.handle_error = lambda request, address: None  # type: ignore[method-assign,assignment]
    bridge.url = bridge.url.replace("http://", "https://")
    yield request.param, pem


def validate(panel: Panel, url: str, **variables: str) -> str:
    argv = [str(panel.base / "paymethods/pmsubtc"), "--command", "pmvalidate"]
    child = panel.start(argv, panel.environment(**variables))
    return child.communicate(form(url).encode(), timeout=30)[0].decode()


def test_an_unknown_authority_is_refused_and_nothing_is_sent(
    panel: Panel, bridge: FakeBridge, secure: tuple[str, Path]
) -> None:
    assert error(validate(panel, bridge.url)) == ("subtc_bridge_tls", "subtc_bridge_url")
    assert bridge.requests == []


def test_a_trusted_certificate_counts_only_for_its_own_name(
    panel: Panel, bridge: FakeBridge, secure: tuple[str, Path]
) -> None:
    """The host's trust store is the one place to add an authority; there is no switch in the module."""
    name, pem = secure
    answer = validate(panel, bridge.url, SSL_CERT_FILE=str(pem))
    if name == "good":
        assert answer == ""
    else:
        assert (error(answer), bridge.requests) == (("subtc_bridge_tls", "subtc_bridge_url"), [])
