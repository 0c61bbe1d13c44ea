"""A driver for the sandbox BILLmanager as an outsider sees it: HTTP, mgrctl as a real command, the control surface."""

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import requests

from sandbox.billmanager import Running
from sandbox.clock import TURNED

SETTINGS = {"api_url": "http://gateway.example", "api_key": "made-up-key"}
COIN = {"shop_id": "0012", "shop_key": "made-up-shop-key"}


@dataclass(frozen=True, kw_only=True)
class Billing:
    running: Running

    @property
    def url(self) -> str:
        return self.running.url

    def api(self, func: str, *, out: str = "xml", cookies: dict[str, str] | None = None, **params: Any) -> ET.Element:
        """A call over HTTP in XML; no authentication unless given."""
        sent = {"func": func, "out": out, **params}
        return ET.fromstring(requests.post(f"{self.url}/billmgr", data=sent, cookies=cookies, timeout=10).content)

    def text(self, func: str, *, out: str, **params: Any) -> requests.Response:
        """A call over HTTP in another format."""
        return requests.get(f"{self.url}/billmgr", params={"func": func, "out": out, **params}, timeout=10)

    def run(self, *argv: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
        """The tree's mgrctl as a real command."""
        command = [str(self.running.base / "sbin/mgrctl"), *argv]
        env = {"PATH": os.environ["PATH"], **TURNED, **environment}
        return subprocess.run(command, env=env, capture_output=True, timeout=20, check=False)

    def mgrctl(self, func: str, peer: str = "pmtest", **params: Any) -> ET.Element:
        """A function through mgrctl in XML, as a module calls it."""
        pairs = [f"{name}={value}" for name, value in params.items()]
        return ET.fromstring(self.run("-m", "billmgr", func, *pairs, "out=xml", SSH_CONNECTION=peer).stdout)

    def control(self, method: str, path: str, **body: Any) -> Any:
        answer = requests.request(method, f"{self.url}/_control/{path}", json=body or None, timeout=30)
        return {"http": answer.status_code, **answer.json()}

    def setup(self, module: str = "pmtoken", **parts: Any) -> dict[str, int]:
        """Ready payment methods; returns their numbers by currency."""
        settings = parts.pop("settings", COIN if module == "pmcoin.php" else SETTINGS)
        made = self.control("POST", "setup", module=module, settings=settings, **parts)
        methods: dict[str, int] = made["paymethods"]
        return methods

    def order(self, **parts: Any) -> Any:
        return self.control("POST", "order", **{"product": "vps", "amount": "10.00", "currency": "RUB", **parts})

    def payment(self, number: int) -> Any:
        return self.control("GET", f"payments/{number}")

    def history(self, number: int) -> list[tuple[int, int, str, str]]:
        """The moves of a payment: from, to, action, caller."""
        rows = self.control("GET", f"payments/{number}/history")["history"]
        return [(r["status"], r["status_new"], r["request_action"], r["request_ip"]) for r in rows]

    def fault(self, **fault: Any) -> None:
        assert self.control("POST", "faults", **fault)["http"] == 200

    def knobs(self, **knobs: Any) -> None:
        assert self.control("POST", "knobs", **knobs)["http"] == 200

    def cgi(self, path: str, **parts: Any) -> requests.Response:
        method = parts.pop("method", "GET")
        return requests.request(method, f"{self.url}/mancgi/{path}", allow_redirects=False, timeout=20, **parts)

    def balance(self) -> str:
        return str(self.control("GET", "balance")["balance"])

    def services(self) -> list[tuple[str, str, int]]:
        rows = self.control("GET", "services")["services"]
        return [(row["product"], row["status"], row["activations"]) for row in rows]


def error(document: ET.Element) -> tuple[str, str]:
    """Type and object of an error document."""
    element = document.find("error")
    assert element is not None, ET.tostring(document)
    return element.get("type", ""), element.get("object", "")


def message(document: ET.Element) -> str:
    return document.findtext("error/msg") or ""


def echoed(answer: requests.Response) -> dict[str, Any]:
    """What the echo script saw."""
    seen: dict[str, Any] = json.loads(answer.text)
    return seen
