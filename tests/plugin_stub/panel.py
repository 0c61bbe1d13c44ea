"""A throwaway panel tree with the module's real files in it, and a way to run them as BILLmanager would.

Owns the tree, process starts and the CGI environment; must not import the module.
"""

from __future__ import annotations

import json
import marshal
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.clock import TURNED, opened

STUB = Path(__file__).resolve().parents[2] / "plugin_stub"
HERE = Path(__file__).resolve().parent
KEY = "mk_test_0123456789abcdef"
SECRET = "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLW1vZHVsZS0wMDE="
OLD_SECRET = "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLW1vZHVsZS1vbGQ="


def lay_out(files: Path) -> None:
    """The files of a panel's tree, and what Python makes of the module's: the first program of each tree would make it anew."""
    for part in ("paymethods", "cgi", "etc/xml", "lib/python"):
        shutil.copytree(STUB / part, files / part, ignore=shutil.ignore_patterns("__pycache__"))
    for script in (*files.glob("paymethods/*"), *files.glob("cgi/*")):
        script.write_bytes(opened(script.read_bytes()))
    (files / "sbin").mkdir()
    shutil.copy(HERE / "fake_mgrctl.py", files / "sbin" / "mgrctl")
    (files / "sbin" / "mgrctl").chmod(0o755)
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", files / "lib/python"], check=True)


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a browser or the bridge would see of a CGI run."""

    status: int
    headers: dict[str, str]
    body: str


class Panel:
    """`payments`, `history` and `credits` are read from the fake panel's own file, never from the module."""

    def __init__(self, base: Path, bridge_url: str, files: Path):
        self.base = base
        shutil.copytree(files, base)
        (base / "var").mkdir()
        (base / "etc" / "subtc.conf").write_text(
            "mgrctl_timeout_seconds = 2\nbridge_timeout_seconds = 3\nlock_wait_seconds = 10\n"
        )
        (base / "etc" / "debug.conf").write_text("*.* 9\n")
        settings = {"subtc_bridge_url": bridge_url, "subtc_api_key": KEY, "subtc_notify_secret": SECRET}
        self.write(
            {
                "payments": {},
                "history": [],
                "credits": [],
                "faults": [],
                "missing_functions": [],
                "sessions": {
                    "sessclient": {"name": "client@example.com", "level": 16},
                    "sessother": {"name": "other@example.com", "level": 16},
                },
                "methods": {"1": {"module": "pmsubtc", "currency": "RUB", "settings": settings}},
            }
        )

    def write(self, content: dict[str, Any]) -> None:
        fresh = self.base / "panel.fresh"
        # Version 2: what every Python reads alike.
        fresh.write_bytes(marshal.dumps(content, 2))
        fresh.replace(self.base / "panel")

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = marshal.loads((self.base / "panel").read_bytes())
        return found

    def change(self, **changes: Any) -> None:
        self.write({**self.read(), **changes})

    def add_payment(self, elid: str = "7", **fields: Any) -> None:
        panel = self.read()
        panel["payments"][elid] = {
            "id": elid,
            "method": "1",
            "status": 8,
            "amount": "10.00",
            "externalid": "",
            "randomnumber": "aB3dE5fG7hJ9",
            "description": f"Advance payment #{elid}",
            "manager_url": "https://billing.example/billmgr",
            "owner": "client@example.com",
            "info": "",
            **fields,
        }
        self.write(panel)

    def edit_payment(self, elid: str, **fields: Any) -> None:
        panel = self.read()
        panel["payments"][elid].update(fields)
        self.write(panel)

    def delete_payment(self, elid: str) -> None:
        panel = self.read()
        del panel["payments"][elid]
        self.write(panel)

    def payment(self, elid: str = "7") -> dict[str, Any]:
        found: dict[str, Any] = self.read()["payments"][elid]
        return found

    def history(self, elid: str = "7") -> list[tuple[int, int]]:
        return [(row["from"], row["to"]) for row in self.read()["history"] if row["elid"] == elid]

    def credits(self) -> list[str]:
        found: list[str] = self.read()["credits"]
        return found

    def fail(self, func: str, fault: str, times: int = 1) -> None:
        self.change(faults=[*self.read()["faults"], {"func": func, "fault": fault, "times": times}])

    def calls(self) -> list[dict[str, Any]]:
        where, found = self.base / "calls", []
        if where.exists():
            with where.open("rb") as written:
                while written.peek(1):
                    found.append(marshal.load(written))
        return found

    def functions(self) -> list[str]:
        return [call["func"] for call in self.calls()]

    def forget_calls(self) -> None:
        (self.base / "calls").unlink(missing_ok=True)

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "MGR5_BASE": str(self.base), **TURNED, **more}

    def check(self) -> tuple[int, str]:
        """What `make check` says about bridge, feeds and cases: the tree of a test lacks the installer's own files."""
        code = "from subtc import diagnose; raise SystemExit(diagnose.main())"
        env = self.environment(PYTHONPATH=str(self.base / "lib/python"))
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def start(self, argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv, cwd="/", env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def command(self, command: str, stdin: str = "") -> str:
        """Run the main script as BILLmanager does; it must end with 0 and say nothing on stderr."""
        child = self.start([str(self.base / "paymethods/pmsubtc"), "--command", command], self.environment())
        out, complaint = child.communicate(stdin.encode(), timeout=60)
        assert (child.returncode, complaint.decode()) == (0, "")
        return out.decode()

    def checkpay(self) -> None:
        assert self.command("checkpay") == ""

    def cgi(self, name: str, query: str = "", *, body: bytes | None = None, **variables: str) -> Response:
        """Run one CGI as the panel's web server does."""
        return self.finish(self.start_cgi(name, query, body=body, **variables), body)

    def start_cgi(self, name: str, query: str, *, body: bytes | None, **variables: str) -> subprocess.Popen[bytes]:
        env = self.environment(
            GATEWAY_INTERFACE="CGI/1.1",
            REQUEST_METHOD="GET" if body is None else "POST",
            QUERY_STRING=query,
            CONTENT_LENGTH="" if body is None else str(len(body)),
            HTTP_HOST="attacker.example",
            HTTPS="on",
        )
        return self.start([str(self.base / "cgi" / name)], {**env, **variables})

    def finish(self, child: subprocess.Popen[bytes], body: bytes | None = None) -> Response:
        out, complaint = child.communicate(body or b"", timeout=60)
        assert (child.returncode, complaint.decode()) == (0, "")
        head, _, text = out.partition(b"\n\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return Response(status=int(headers["Status"].split()[0]), headers=headers, body=text.decode())

    def pay(self, elid: str = "7", *, session: str = "sessclient", **variables: str) -> Response:
        return self.cgi("subtcpayment", f"elid={elid}", HTTP_COOKIE=f"billmgrses5={session}", **variables)

    def logs(self) -> str:
        return "".join(where.read_text() for where in sorted((self.base / "var").glob("*.log")))

    def everything_written(self) -> str:
        """All text the module left behind or showed to other processes: argv, logs, state and panel fields."""
        kept = [path for path in (self.base / "var").rglob("*") if path.is_file()]
        argv = json.dumps([call["argv"] for call in self.calls()])
        info = json.dumps([(one["info"], one["externalid"]) for one in self.read()["payments"].values()])
        return argv + info + "".join(path.read_text("utf-8", "replace") for path in kept)


def target(response: Response) -> str:
    """Path of a redirect."""
    return urlsplit(response.headers["Location"]).path


def running_as_root() -> bool:
    return os.geteuid() == 0
