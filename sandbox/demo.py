"""The whole job on one machine: both outside worlds and the bridge as separate programs, and one order walked through them.

Owns the demo's programs and its walk; must not reach into any of them but over HTTP.
"""

import contextlib
import json
import os
import secrets
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from sandbox.desk_people import entries, make_people

START_SECONDS = 40
# Longer than any lease (60 s): a program that is killed in the middle of a look or a delivery keeps others from it so long.
STEP_SECONDS = 90
PREFIX = "subtc-demo-"
# In the demo's folder: the numbers and command lines of the demo's own process and of its programs.
PROGRAMS = "programs"
PORTS = {"bitcoin": 8731, "billmanager": 8732, "bridge": 8733}


class DemoFailed(Exception):
    """One step did not come true; the text says which and what was seen instead."""


@dataclass
class Demo:
    """The running programs and where they are."""

    directory: Path
    ports: dict[str, int]
    secrets: dict[str, str]
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"


def run_demo(*, once: bool, directory: Path | None, node: Path | None = None) -> int:
    """Starts everything and walks one order. Returns the exit code: 0 when the service became active.

    With `node`, a folder that `scripts/get_node.sh` filled, the chain is a real node's regtest.
    """
    # A demo that somebody ends with TERM must end its programs too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (
            demo_place(directory) as place,
            running(place, change=_with_desk(node), chain=chain_options(node)) as demo,
        ):
            for line in moved_ports(demo.ports):
                click.echo(line)
            walk = Walk(demo)
            walk.run()
            click.echo(f"BILLmanager: payment {walk.order['payment_id']} has status 4, its service is active.")
            if not once:
                _stay_up(demo, walk)
    except DemoFailed as failure:
        click.echo(f"FAILED  {failure}", err=True)
        return 1
    return 0


def moved_ports(ports: Mapping[str, int]) -> list[str]:
    """A line for each program that is not where it usually is."""
    moved = {name: port for name, port in ports.items() if port != PORTS[name]}
    return [f"Port {PORTS[name]} is taken, maybe by another demo: {name} is at {port}." for name, port in moved.items()]


def leftovers() -> list[str]:
    """What this user's demos that were killed, or failed, have left in the folder for temporary files."""
    lines = []
    for place in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        try:
            # Others may write there too, and what is printed is meant to be run.
            if place.lstat().st_uid != os.getuid():
                continue
            demo, *programs = [_noted(line) for line in (place / PROGRAMS).read_text().splitlines()]
        except (OSError, ValueError):
            continue
        if not _runs(*demo):
            still = [str(pid) for pid, command in programs if _runs(pid, command)]
            ends = f"its programs still run, end them: kill {' '.join(still)}; then " if still else ""
            named = shlex.quote(str(place))
            lines.append(f"A demo that was not ended has left {named}: {ends}rm -r {named}")
    return lines


def note_of(pid: int, words: Any = ()) -> str:
    """A line of PROGRAMS. `words`: how it was started just now, which the system may not tell yet."""
    return f"{pid} {' '.join(' '.join(words).split()) or _command(pid)}"


def _noted(line: str) -> tuple[int, str]:
    pid, _, command = line.partition(" ")
    return int(pid), command


def _runs(pid: int, command: str) -> bool:
    """Whether the number is still that program of this user's: numbers are given out again."""
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return _command(pid) in (command, "")
    return False


def _command(pid: int) -> str:
    """How it was called, on one line; "" where the system does not tell."""
    with contextlib.suppress(OSError):
        return " ".join(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").split())
    return ""


@contextlib.contextmanager
def demo_place(directory: Path | None) -> Iterator[Path]:
    """The demo's folder, made if need be. One that nobody named is removed at the end, unless something failed."""
    for line in leftovers():
        click.echo(line)
    place = directory or Path(tempfile.mkdtemp(prefix=PREFIX))
    place.mkdir(parents=True, exist_ok=True)
    is_kept = directory is not None
    try:
        yield place
    except Exception:
        is_kept = True
        raise
    finally:
        if is_kept:
            click.echo(f"Its files, logs among them, stay in {place}")
        else:
            shutil.rmtree(place)
            click.echo(f"Ended; its files in {place} are removed.")


def chain_options(node: Path | None) -> tuple[str, ...]:
    """The bitcoin sandbox's options: a simulated chain, or a real node on regtest."""
    return ("--net", "test") if node is None else ("--net", "regtest", "--node", str(node))


def _with_desk(node: Path | None) -> Callable[[dict[str, Any]], None]:
    def change(settings: dict[str, Any]) -> None:
        settings |= {"admin": True} | ({"network": "regtest"} if node else {})

    return change


def _stay_up(demo: Demo, walk: "Walk") -> None:
    people = make_people([sys.executable, *_bridge(demo)])
    _say_where(demo, walk)
    click.echo(f"desk           {demo.url('bridge')}/admin/   (what fay proposes, ann approves; Enter shows new codes)")

    def tell() -> None:
        for line in entries(people, time.time()):
            click.echo(line)

    tell()
    stay_up(demo, asked=tell)


def stay_up(demo: Demo, *, asked: Callable[[], None] | None = None) -> None:
    """Waits until a person ends it or a program does; calls `asked` when Enter is pressed on a terminal."""
    click.echo("Everything stays up; order and pay by hand in the client panel. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        while all(program.poll() is None for program in demo.programs):
            if asked is None or not sys.stdin.isatty():
                time.sleep(0.5)
            elif select.select([sys.stdin], [], [], 0.5)[0]:
                sys.stdin.readline()
                asked()


@contextlib.contextmanager
def running(
    place: Path,
    *,
    wanted_ports: Mapping[str, int] = PORTS,
    change: Callable[[dict[str, Any]], None] | None = None,
    tick_seconds: int = 180,
    chain: Sequence[str] = ("--net", "test"),
) -> Iterator[Demo]:
    """Every program of the demo, up until the end of the block. `change` may edit the bridge's settings.

    `chain` are the bitcoin sandbox's options: `--net regtest --node DIR` for real blocks. `tick_seconds` is the period
    of the billing system's checkpay; 0 is never. Raises DemoFailed.
    """
    demo = Demo(
        directory=place,
        ports={name: _free_port(wanted) for name, wanted in wanted_ports.items()},
        secrets={
            "subtc_key": f"SUBTC-KEY-{secrets.token_hex(24)}",
            "wallet_id": f"wt_{secrets.token_hex(22)}",
            "lnbits_wallet": secrets.token_hex(16),
            "lnbits_invoice_key": secrets.token_hex(16),
            "lnbits_admin_key": secrets.token_hex(16),
            "api_key": secrets.token_hex(24),
            "token_secret": secrets.token_hex(24),
            "notify_secret": "whsec_" + b64encode(secrets.token_bytes(24)).decode(),
        },
    )
    try:
        settings = _settings(demo)
        if change is not None:
            change(settings)
        _start_all(demo, settings, tick_seconds=tick_seconds, chain=chain)
        yield demo
    finally:
        for program in reversed(demo.programs):
            program.terminate()
        for program in demo.programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(timeout=15)
            program.kill()
            program.wait()


def _start_all(demo: Demo, settings: dict[str, Any], *, tick_seconds: int, chain: Sequence[str]) -> None:
    config = demo.directory / "config.yaml"
    config.write_text(json.dumps(settings, indent=2))
    config.chmod(0o600)
    key, wallet_id = demo.secrets["subtc_key"], demo.secrets["wallet_id"]
    bitcoin = ["-m", "sandbox.bitcoin", "--port", str(demo.ports["bitcoin"]), *chain]
    lnbits = ":".join(demo.secrets[f"lnbits_{name}"] for name in ("wallet", "invoice_key", "admin_key"))
    presets = ["--api-key", key, "--wallet-id", wallet_id, "--lnbits", lnbits]
    _start(demo, "bitcoin", [*bitcoin, *presets], ready="/health")
    base = ["--base", str(demo.directory / "mgr5"), "--tick-seconds", str(tick_seconds)]
    billing = ["-m", "sandbox.billmanager", "--port", str(demo.ports["billmanager"]), *base]
    _start(demo, "billmanager", billing, ready="/_control/state")
    subprocess.run([sys.executable, *_bridge(demo), "migrate"], check=True, stdout=subprocess.DEVNULL)
    start_web(demo)
    start_worker(demo)


def start_web(demo: Demo) -> subprocess.Popen[bytes]:
    """The bridge's web server, ready to answer."""
    return _start(demo, "bridge", [*_bridge(demo), "serve"], ready="/readyz")


def start_worker(demo: Demo) -> subprocess.Popen[bytes]:
    return _start(demo, "worker", [*_bridge(demo), "worker"], ready=None)


def _bridge(demo: Demo) -> list[str]:
    return ["-m", "bridge.cli", "--config", str(demo.directory / "config.yaml")]


def _start(demo: Demo, name: str, arguments: list[str], *, ready: str | None) -> subprocess.Popen[bytes]:
    """Starts one program with its log in the demo's folder and waits until it answers."""
    with (demo.directory / f"{name}.log").open("ab") as log_file:
        program = subprocess.Popen(
            [sys.executable, *arguments], stdout=log_file, stderr=log_file, stdin=subprocess.DEVNULL
        )
    demo.programs.append(program)
    notes = [note_of(os.getpid()), *(note_of(each.pid, each.args) for each in demo.programs)]
    (demo.directory / PROGRAMS).write_text("\n".join(notes))
    if ready is None:
        return program
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and program.poll() is None:
        with contextlib.suppress(OSError):
            if call(demo.url(name) + ready).status == 200:
                return program
        time.sleep(0.05)
    raise DemoFailed(f"{name} did not start; see {demo.directory / name}.log")


def _settings(demo: Demo) -> dict[str, Any]:
    """The demo's own config.yaml: real settings, made-up secrets (JSON is YAML)."""
    outside = demo.url("bitcoin")
    pointers = {
        "alpha": "/data/{currency}/last",
        "beta": "/bitcoin/{currency_lower}",
        "gamma": "/result/0/price",
    }
    return {
        "network": "test",
        "database_url": f"sqlite:///{demo.directory / 'bridge.db'}",
        "public_url": demo.url("bridge"),
        "listen": f"127.0.0.1:{demo.ports['bridge']}",
        "web_processes": 1,
        "token_secret": demo.secrets["token_secret"],
        "subtc": {
            "base_url": outside,
            "key": demo.secrets["subtc_key"],
            "wallet_id": demo.secrets["wallet_id"],
            "calls_per_minute": 600,
        },
        "lnbits": {
            "url": f"{outside}/lnbits",
            "wallet_id": demo.secrets["lnbits_wallet"],
            "invoice_key": demo.secrets["lnbits_invoice_key"],
            "admin_key": demo.secrets["lnbits_admin_key"],
            "calls_per_minute": 600,
        },
        # Blocks come when somebody asks for them, or moves the clock.
        "chain": {"esplora": [f"{outside}/esplora"], "max_tip_age_seconds": 0},
        "prices": {
            "sources": [
                {"name": name, "url": f"{outside}/prices/{name}?currency={{currency}}", "pointer": pointer}
                for name, pointer in pointers.items()
            ]
        },
        "merchants": [
            {
                "id": "demo",
                "api_keys": [demo.secrets["api_key"]],
                "currencies": ["RUB", "USD", "EUR"],
                "notify_url": demo.url("billmanager") + "/mancgi/subtcresult",
                "notify_secrets": [demo.secrets["notify_secret"]],
            }
        ],
        "shop": {"name": "Demo Hosting", "accent": "#0b63c5"},
    }


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.body)


def call(url: str, sent: Any = None, *, headers: dict[str, str] | None = None) -> Reply:
    """One request, POST when something is sent; redirects are not followed."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=20)
    try:
        body = None if sent is None else json.dumps(sent).encode()
        with_type = ({"Content-Type": "application/json"} if body else {}) | (headers or {})
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("POST" if body else "GET", target, body=body, headers=with_type)
        answer = connection.getresponse()
        return Reply(status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, body=answer.read())
    finally:
        connection.close()


class Walk:
    """One order from the client's click to the active service, a line per step."""

    def __init__(self, demo: Demo, *, api_key: str = "", **wanted: str):
        self._demo = demo
        self._started = time.monotonic()
        self._api_key = api_key or demo.secrets["api_key"]
        self._wanted = {"product": "vps", "amount": "499.00", "currency": "RUB"} | wanted
        self.order: dict[str, Any] = {}
        self.invoice: dict[str, Any] = {}

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Name and doing of every step, in order."""
        return [
            ("payment method added", self.add_method),
            ("order placed", self.place_order),
            ("quote locked, address shown", self.open_pay_page),
            ("paid by the client", self.pay),
            ("doorbell heard", self.doorbell),
            ("own read: money seen", self.seen),
            ("block mined, confirmed", self.mine),
            ("settled", self.settled),
            ("payment.setpaid, status 4", self.paid),
            ("service active", self.active),
        ]

    def run(self) -> None:
        """Every step, a line for each. Raises DemoFailed."""
        steps = self.steps()
        for number, (name, step) in enumerate(steps, 1):
            try:
                seen = step()
            except (OSError, KeyError, ValueError) as error:
                raise DemoFailed(f"{name}: {type(error).__name__}: {error}") from error
            click.echo(f"[{number:2}/{len(steps)}] {time.monotonic() - self._started:6.2f} s  {name:28} {seen}")

    def control(self, world: str, path: str, sent: Any = None) -> Any:
        reply = call(f"{self._demo.url(world)}/_control/{path}", sent)
        if reply.status != 200:
            raise DemoFailed(f"{world} {path}: {reply.status} {reply.body[:300].decode(errors='replace')}")
        return reply.json()

    def add_method(self) -> str:
        wanted = {
            "subtc_bridge_url": self._demo.url("bridge"),
            "subtc_api_key": self._demo.secrets["api_key"],
            "subtc_notify_secret": self._demo.secrets["notify_secret"],
        }
        made = self.control("billmanager", "setup", {"settings": wanted})
        return "checked by the module: " + ", ".join(made["paymethods"])

    def place_order(self) -> str:
        self.order = self.control("billmanager", "order", self._wanted)
        price = f"{self._wanted['amount']} {self._wanted['currency']}"
        return f"VPS for {price}, billing payment {self.order['payment_id']}"

    def open_pay_page(self) -> str:
        cookie = {"Cookie": f"{self.order['cookie']}={self.order['session']}"}
        redirect = call(self.order["pay_url"], headers=cookie)
        page = redirect.headers.get("location", "")
        if redirect.status != 302 or "/pay/" not in page:
            raise DemoFailed(f"the module sent no pay page: {redirect.status} {redirect.body[:300]!r}")
        if call(page).status != 200:
            raise DemoFailed("the pay page does not open")
        self.invoice = self.api_invoice()
        quote = self.invoice["quote"]
        return f"{quote['due_sat']} sat at {quote['rate']} {self.invoice['currency']} to {self.invoice['address']}"

    def api_invoice(self) -> dict[str, Any]:
        key = {"Authorization": f"Bearer {self._api_key}"}
        query = f"/v1/invoices?billing_payment_id={self.order['payment_id']}"
        found: list[dict[str, Any]] = call(self._demo.url("bridge") + query, headers=key).json()["invoices"]
        return found[0]

    def pay(self) -> str:
        due = {"address": self.invoice["address"], "amount_sat": self.invoice["remaining_sat"], "replaceable": True}
        until(lambda: self._mine_of("watches", "address") or None, "no watch was armed")
        return "transaction " + str(self.control("bitcoin", "pay", due)["txid"][:16]) + "…"

    def _mine_of(self, kind: str, member: str) -> list[dict[str, Any]]:
        """What the gateway says about this invoice's address."""
        return [each for each in self.control("bitcoin", kind)[kind] if self.invoice["address"] in each[member]]

    def doorbell(self) -> str:
        def delivered() -> Any:
            return next((d for d in self._mine_of("deliveries", "body") if d["state"] == "delivered"), None)

        until(delivered, "the gateway's callback was not taken")
        return "callback answered after its row was durable"

    def seen(self) -> str:
        seen = self._until_invoice(lambda i: i["status"] == "processing", "the money was not seen")
        return f"{seen['received_sat']} sat, {seen['reason']}"

    def mine(self) -> str:
        return f"height {self.control('bitcoin', 'mine', {'blocks': 1})['height']}"

    def settled(self) -> str:
        call_on = self.control("bitcoin", "state")
        seen = self._until_invoice(
            lambda i: i["status"] == "settled", f"not settled (chain at {call_on.get('height')})"
        )
        return f"{seen['confirmed_sat']} sat confirmed"

    def paid(self) -> str:
        def paid() -> Any:
            payment = self.control("billmanager", f"payments/{self.order['payment_id']}")
            return payment if payment["status"] == 4 else None

        payment = until(paid, "BILLmanager was not told")
        return f"BILLmanager status {payment['status']}, externalid {payment['externalid']}"

    def active(self) -> str:
        def active() -> Any:
            services = self.control("billmanager", "services")["services"]
            return next((s for s in services if s["id"] == self.order["service_id"] and s["status"] == "active"), None)

        service = until(active, "the service did not become active")
        return f"service {service['id']} is {service['status']}"

    def _until_invoice(self, is_so: Callable[[dict[str, Any]], bool], otherwise: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            self.invoice = self.api_invoice()
            return self.invoice if is_so(self.invoice) else None

        found: dict[str, Any] = until(reached, otherwise)
        return found


def until(look: Callable[[], Any], otherwise: str) -> Any:
    """What `look` returns once it is something; DemoFailed after a bounded time."""
    deadline = time.monotonic() + STEP_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise DemoFailed(f"{otherwise} within {STEP_SECONDS} s")


def _say_where(demo: Demo, walk: Walk) -> None:
    click.echo(f"client panel   {demo.url('billmanager')}/   (demo / demo; admin / admin)")
    click.echo(f"pay page       {walk.invoice['payment_url']}   (of the order above)")
    click.echo(f"payer's wallet {demo.url('bitcoin')}/wallet   (pays what the newest pay page asks for, and mines)")
    click.echo(f"bridge         {demo.url('bridge')}/healthz")
    click.echo(f"files, logs    {demo.directory}")


def _free_port(wanted: int) -> int:
    """The wanted port if it is free, else any: two demos may run side by side."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoFailed("no free port on loopback")
