"""What we are made of is written down, and a library with a known fault does not pass unseen."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from packaging.markers import Marker

from deploy.make_locks import OTEL, REQUIREMENTS, Locked, entries
from sandbox.serving import HttpServer

ROOT = Path(__file__).parents[2]
FAULT = {
    "id": "PYSEC-2099-1",
    "summary": "made up: takes any password",
    "affected": [
        {
            "package": {"name": "flask", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0.1"}]}],
        }
    ],
}


def locked(*locks: str) -> dict[str, Locked]:
    """What is installed from these locks here; an entry for another system is not."""
    found = [each for lock in locks for each in entries((ROOT / lock).read_text())]
    return {each.name: each for each in found if not each.marker or Marker(each.marker).evaluate()}


class Advisories(HttpServer):
    """A canned advisory service: `faulty` names the library of which FAULT is known, `status` is how it answers."""

    faulty, status = "", 200
    asked: list[tuple[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class Answer(BaseHTTPRequestHandler):
    server: Advisories

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = question["package"]["name"]
        self.server.asked.append((name, question["version"]))
        body = json.dumps({"vulns": [FAULT]} if name == self.server.faulty else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    with Advisories(("127.0.0.1", 0), Answer) as server:
        server.asked = []
        yield server


def audit(url: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "deploy" / "audit.py"), "--osv-url", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_every_locked_library_is_asked_about_and_clean_is_said(advisories):
    done = audit(advisories.url)
    wanted = {name: each.version for name, each in locked(REQUIREMENTS, OTEL).items()}
    assert (done.returncode, dict(advisories.asked)) == (0, wanted), done.stderr
    assert f"{len(wanted)} libraries asked about, 0 known faults" in done.stdout


def test_a_library_with_a_known_fault_is_named_and_fails(advisories):
    advisories.faulty = "flask"
    done = audit(advisories.url)
    assert done.returncode == 1
    assert f"flask {locked(REQUIREMENTS)['flask'].version}: PYSEC-2099-1, mended in 99.0.1" in done.stdout


def test_a_service_that_cannot_be_asked_is_neither_clean_nor_a_fault(advisories):
    advisories.status = 503
    for url in (advisories.url, "http://127.0.0.1:9/v1/query"):
        done = audit(url)
        assert (done.returncode, done.stdout) == (3, "")
        assert "COULD NOT ASK" in done.stderr


def test_the_bill_of_materials_has_every_locked_library_with_its_hash_and_licence(tmp_path):
    target = tmp_path / "build" / "sbom.cdx.json"
    subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "make_sbom.py"), str(target)], check=True, capture_output=True
    )
    bill = json.loads(target.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "subtc-billmanager-bridge")
    found = {each["purl"].removeprefix("pkg:pypi/").lower().replace("_", "-"): each for each in bill["components"]}
    wanted = {f"{each.name}@{each.version}": each.hashes for each in locked(REQUIREMENTS).values()}
    assert {name: {f"sha256:{h['content']}" for h in each["hashes"]} for name, each in found.items()} == wanted
    assert [each["name"] for each in found.values() if not each["licenses"]] == []
    assert str(ROOT) not in target.read_text()
