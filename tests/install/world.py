"""The world around the machine: the gateway with chain and prices, BILLmanager, a payer, a stranger; each with its own address.

Owns their network, names, certificates and programs; must not touch the machine but over the network.
"""

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

from sandbox.demo import Demo, call
from tests.install.machine import Machine, WalkFailed, until

CLONE_NEWNET = 0x40000000
GATEWAY, GATEWAY_ADDRESS = "gateway.example.com", "192.0.2.30"
STRANGER_ADDRESS = "192.0.2.40"
PORTS = {"bitcoin": 8731, "billmanager": 8732}
TRUSTED = Path("/etc/ssl/certs")
POINTERS = {"alpha": "/data/{currency}/last", "beta": "/bitcoin/{currency_lower}", "gamma": "/result/0/price"}

SITE = """
  server {{
    listen {address}:443 ssl;
    server_name {name};
    ssl_certificate {place}/{name}.pem; ssl_certificate_key {place}/{name}.key;
    location / {{
      proxy_pass http://127.0.0.1:{port};
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }}
  }}
"""
NGINX = """
user root; daemon off; pid {place}/nginx.pid; error_log {place}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  {sites}
}}
"""


@dataclass
class Site(Demo):
    """The demo's two worlds, with the bridge where the machine's second server is."""

    bridge: str = ""

    def url(self, name: str) -> str:
        return self.bridge if name == "bridge" else super().url(name)


def addresses_of(names: dict[str, str]) -> dict[str, str]:
    """Every name of the walk and the address that it leads to."""
    inside = names["INSIDE_ADDRESS"]
    return {
        names["PAY"]: inside,
        names["INSIDE"]: inside,
        names["BILLING"]: names["BILLING_ADDRESS"],
        GATEWAY: GATEWAY_ADDRESS,
    }


def hosts_file(names: dict[str, str]) -> str:
    lines = [f"{address} {name}" for name, address in addresses_of(names).items()]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])


def more_options(names: dict[str, str]) -> str:
    """The options of `init` that put this world in the place of the real one."""
    url = f"https://{GATEWAY}"
    prices = [f"--price {name},{url}/prices/{name}?currency={{currency}},{at}" for name, at in POINTERS.items()]
    outside = [f"--subtc-url {url}", f"--esplora {url}/esplora", *prices]
    return " ".join([*outside, f"--allow-host {names['BILLING']}"])


def join(machine: Machine, names: dict[str, str]) -> None:
    """This program and all that it starts from now on are in a network of their own, with one cable to the machine."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise WalkFailed(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    inside = ["nsenter", f"--target={machine.network.pid}", "--net"]
    cable = ["ip", "link", "add", "world", "type", "veth", "peer", "name", "machine", "netns", str(machine.network.pid)]
    ours = (names["BILLING_ADDRESS"], GATEWAY_ADDRESS, STRANGER_ADDRESS)
    for command in (
        cable,
        *(["ip", "address", "add", f"{address}/24", "dev", "world"] for address in ours),
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "set", "world", "up"],
        [*inside, "ip", "address", "add", f"{names['INSIDE_ADDRESS']}/24", "dev", "machine"],
        [*inside, "ip", "link", "set", "machine", "up"],
    ):
        subprocess.run(command, check=True)


def furnish(place: Path, names: dict[str, str]) -> None:
    """Names and trust of this world only: the mounts are this mount namespace's and end with it."""
    (place / "hosts").write_text(hosts_file(names))
    subprocess.run(["mount", "--bind", place / "hosts", "/etc/hosts"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "trusted", TRUSTED], check=True)
    for name in (names["BILLING"], GATEWAY):
        certify(place, name)
        trust(name, (place / f"{name}.pem").read_text())


def certify(place: Path, name: str) -> None:
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2", "-nodes"]
    files = ["-keyout", place / f"{name}.key", "-out", place / f"{name}.pem"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True)


def trust(name: str, certificate: str) -> None:
    """As `update-ca-certificates` on the host of whoever calls."""
    (TRUSTED / f"{name}.pem").write_text(certificate)
    subprocess.run(["openssl", "rehash", TRUSTED], check=True, capture_output=True)


def start(place: Path, names: dict[str, str]) -> Site:
    """Gateway and BILLmanager with the real module, each behind TLS. Raises WalkFailed."""
    billing = f"https://{names['BILLING']}"
    site = Site(directory=place, ports=dict(PORTS), secrets={}, bridge=f"https://{names['INSIDE']}:8443")
    _program(site, "bitcoin", "--net", "test", "--callback-host", names["PAY"])
    _program(site, "billmanager", "--base", str(place / "mgr5"), "--tick-seconds", "0", "--public-url", billing)
    shown = {names["BILLING"]: "billmanager", GATEWAY: "bitcoin"}
    sites = [
        SITE.format(place=place, name=name, address=addresses_of(names)[name], port=PORTS[world])
        for name, world in shown.items()
    ]
    (place / "nginx.conf").write_text(NGINX.format(place=place, sites="".join(sites)))
    front = ["nginx", "-e", place / "error.log", "-p", place, "-c", place / "nginx.conf"]
    site.programs.append(subprocess.Popen(front))
    until(lambda: _answers(f"{billing}/"), "the world's nginx did not start")
    return site


def _program(site: Site, world: str, *options: str) -> None:
    command = [sys.executable, "-m", f"sandbox.{world}", "--port", str(PORTS[world]), *options]
    with (site.directory / f"{world}.log").open("wb") as log:
        site.programs.append(subprocess.Popen(command, stdout=log, stderr=log))
    until(lambda: _answers(f"{site.url(world)}/_control/state"), f"the sandbox of {world} did not start")


def _answers(url: str) -> bool:
    try:
        return call(url).status < 500
    except OSError:
        return False


def stranger(name: str, path: str, *, port: int = 443) -> int:
    """The status that somebody without a place on any list gets; 0 when nobody listens."""
    connection = HTTPSConnection(name, port, timeout=10, source_address=(STRANGER_ADDRESS, 0))
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()
