"""The real nginx configuration on loopback, before a real application.

Owns ports, a throwaway certificate and the program; must not change a rule of the configuration.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sandbox.serving import WsgiServer
from tests.web.conftest import Site, build_site

NGINX = Path(__file__).parents[2] / "deploy" / "nginx"
NAMES = "subjectAltName=DNS:pay.example.com,DNS:bridge.example.com,IP:127.0.0.1"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(kw_only=True)
class Front:
    """nginx, what stands behind it, and how to call both."""

    site: Site
    place: Path
    ports: dict[str, int]

    def call(self, method: str, path: str, *, server: str = "public", **options: Any) -> requests.Response:
        scheme = "http" if server == "plain" else "https"
        url = f"{scheme}://127.0.0.1:{self.ports[server]}{path}"
        options = {"verify": str(self.place / "cert.pem"), "timeout": 10, "allow_redirects": False} | options
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, url, **options)

    def log(self) -> str:
        return (self.place / "access.log").read_text()


def configuration(place: Path, ports: dict[str, int], *, allow: str) -> str:
    """The shipped file with this machine's ports and paths, inside the smallest possible nginx.conf."""
    text = (NGINX / "subtc-bridge.conf").read_text()
    text = re.sub(r"listen \[::\]:.*\n", "\n", text)
    for shipped, here in (
        ("listen 80;", f"listen 127.0.0.1:{ports['plain']};"),
        ("listen 443 ", f"listen 127.0.0.1:{ports['public']} "),
        ("listen 127.0.0.1:8443 ", f"listen 127.0.0.1:{ports['inside']} "),
        ("127.0.0.1:8080", f"127.0.0.1:{ports['bridge']}"),
        ("/var/log/nginx/subtc-bridge.log", str(place / "access.log")),
        ("/var/www/subtc-bridge", str(place / "www")),
        ("/etc/nginx/subtc-bridge-allow.conf", str(place / "allow.conf")),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    text = re.sub(r"/etc/ssl/subtc-bridge/\S+\.pem", str(place / "cert.pem"), text)
    text = re.sub(r"/etc/ssl/subtc-bridge/\S+\.key", str(place / "key.pem"), text)
    (place / "allow.conf").write_text(allow)
    temporary = "\n".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return (
        f"{user} daemon off; pid {place}/nginx.pid; error_log {place}/error.log; worker_processes 1;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ {temporary}\n{text}\n}}\n"
    )


def certify(place: Path) -> None:
    """A throwaway certificate for the names of the site."""
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    where = ["-subj", "/CN=pay.example.com", "-addext", NAMES, "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*request, *where], cwd=place, check=True, capture_output=True)


@contextmanager
def front(place: Path, database_url: str, *, allow: str = "allow 127.0.0.1;\n") -> Iterator[Front]:
    """nginx and the application, both running; ended in good order."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "www" / ".well-known").mkdir(parents=True)
    (place / "www" / ".well-known" / "security.txt").write_text((NGINX / "security.txt").read_text())
    certify(place)
    ports = {name: free_port() for name in ("plain", "public", "inside", "bridge")}
    (place / "nginx.conf").write_text(configuration(place, ports, allow=allow))
    site = build_site(database_url)
    command = ["nginx", "-e", str(place / "error.log"), "-p", str(place), "-c", str(place / "nginx.conf")]
    with closing(site.bridge.store), WsgiServer("127.0.0.1", ports["bridge"], site.app):
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_until_open(ports["public"], program)
            yield Front(site=site, place=place, ports=ports)
        finally:
            program.terminate()
            program.communicate(timeout=10)


def wait_until_open(port: int, program: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and program.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nginx did not start: {program.communicate()[0]!r}")
