"""`subtc-bridge probe subtc`: asks a live gateway what no document says, on its test network only, and writes a report.

Owns the probes of SUBTC contract 13 that need no second wallet's money and the report; must never touch mainnet or print
the key.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply, redacted

# A valid address of the test network that no wallet of ours owns: BIP-173's own example.
FOREIGN_ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
NEVER = "0" * 48


@dataclass
class Gateway:
    """One base URL with a key of the test network. Every call is kept, redacted, for the report."""

    base_url: str
    key: str
    outbound: Outbound = field(default_factory=lambda: Outbound(limits=Limits(read_seconds=30, deadline_seconds=35)))
    wallet_id: str = ""
    address: str = ""

    def health(self) -> Reply:
        return self.outbound.call("GET", f"{self.base_url}/health")

    def call(self, mode: str, body: dict[str, Any] | None = None, *, key: str | None = None, **headers: str) -> Reply:
        sent = {"Content-Type": "application/json"} | headers
        with_key = self.key if key is None else key
        sent |= {"X-SUBTC-KEY": with_key} if with_key else {}
        content = b"" if body is None else json.dumps(body).encode()
        return self.outbound.call("POST", f"{self.base_url}/v1/btc?mode={mode}", headers=sent, body=content)

    def result(self, mode: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of a call that must work for the other probes to mean anything."""
        parsed: Any = self.call(mode, body).json()
        if not isinstance(parsed, dict) or parsed.get("ok") is not True or not isinstance(parsed.get("result"), dict):
            raise CallFailed(f"{mode} was refused", maybe_sent=True)
        found: dict[str, Any] = parsed["result"]
        return found


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was asked and what came back."""

    asked: str
    answer: str


Probe = Callable[[Gateway], Iterator[Line]]


def run(gateway: Gateway, *, sends: bool) -> list[tuple[str, list[Line]]]:
    """Every probe in order; one that breaks off says so and the next goes on."""
    report = []
    for title, probe in PROBES.items():
        lines: list[Line] = []
        try:
            lines.extend(probe(gateway))
        except (CallFailed, Refused, ValueError, KeyError) as broken:
            lines.append(Line(asked="(broke off)", answer=f"{type(broken).__name__}: {broken}"))
        report.append((title, lines))
    if sends:
        report.append(("8. Replays of a send", list(_sends(gateway))))
    return report


def _said(gateway: Gateway, asked: str, reply: Reply) -> Line:
    text = redacted(reply.body[:600].decode("utf-8", "replace"), gateway.key).replace("\n", " ").replace("|", "¦")
    return Line(asked=asked, answer=f"HTTP {reply.status} in {reply.seconds * 1000:.0f} ms: {text}")


def _health(gateway: Gateway) -> Iterator[Line]:
    reply = gateway.health()
    yield _said(gateway, "GET /health", reply)
    yield Line(asked="headers", answer=", ".join(sorted(reply.headers)))
    yield Line(asked="Date against this machine", answer=str(_skew(reply)))


def _skew(reply: Reply) -> str:
    told = reply.date()
    return "no Date header" if told is None else f"{(datetime.now(UTC) - told).total_seconds():.0f} s"


def _keys(gateway: Gateway) -> Iterator[Line]:
    yield _said(gateway, "key_status", gateway.call("key_status"))
    yield _said(gateway, "key_status with a wrong key", gateway.call("key_status", key=f"SUBTC-KEY-{NEVER}"))
    yield _said(gateway, "key_status without a key", gateway.call("key_status", key=""))
    yield _said(gateway, "an unknown mode", gateway.call("no_such_mode"))


def _wallets(gateway: Gateway) -> Iterator[Line]:
    made = gateway.result("wallet_create", {"net": "test"})
    gateway.wallet_id = gateway.wallet_id or str(made["wallet_id"])
    yield Line(asked="wallet_create net=test", answer=f"prefix {str(made['wallet_id'])[:3]}, members {sorted(made)}")
    yield _said(gateway, "wallet_list", gateway.call("wallet_list"))


def _addresses(gateway: Gateway) -> Iterator[Line]:
    wallet = {"wallet_id": gateway.wallet_id}
    given = [str(gateway.result("wallet_receive", wallet)["address"]) for _ in range(2)]
    yield Line(asked="wallet_receive twice", answer="the same address" if given[0] == given[1] else "two addresses")
    inbox = [str(gateway.result("inbox_create", wallet | {"expected_sat": 50_000})["address"]) for _ in range(2)]
    yield Line(asked="inbox_create twice", answer="the same address" if inbox[0] == inbox[1] else "two addresses")
    gateway.address = inbox[1]
    kind = check_payable(gateway.address, network="test").kind
    yield Line(asked="the address", answer=f"{kind}, passes our own check for the test network")


def _polls(gateway: Gateway) -> Iterator[Line]:
    base = {"wallet_id": gateway.wallet_id, "address": gateway.address}
    for expected in (50_000, 0, "50000", -1):
        reply = gateway.call("wallet_poll", base | {"expected_sat": expected})
        yield _said(gateway, f"wallet_poll expected_sat={expected!r}", reply)
    foreign = base | {"address": FOREIGN_ADDRESS, "expected_sat": 50_000}
    yield _said(gateway, "wallet_poll of a foreign address", gateway.call("wallet_poll", foreign))
    yield _said(gateway, "wallet_balance", gateway.call("wallet_balance", {"wallet_id": gateway.wallet_id}))


def _refused_sends(gateway: Gateway) -> Iterator[Line]:
    """Sends from an empty wallet: all must be refused; nothing can leave it."""
    for name, value in (("to", FOREIGN_ADDRESS), ("to_address", FOREIGN_ADDRESS), ("to", "no address")):
        for gross_sat in (1, 60_000):
            body = {"wallet_id": gateway.wallet_id, name: value, "amount_sat": gross_sat}
            reply = gateway.call("wallet_send", body, **{"X-SUBTC-IDEMPOTENCY": f"probe-{time.time_ns()}"})
            yield _said(gateway, f"wallet_send {name}={value[:8]}… amount_sat={gross_sat}", reply)


def _burst(gateway: Gateway) -> Iterator[Line]:
    body = {"wallet_id": gateway.wallet_id, "address": gateway.address, "expected_sat": 50_000}
    started = time.monotonic()
    statuses = [gateway.call("wallet_poll", body).status for _ in range(50)]
    counted = ", ".join(f"{statuses.count(status)} times {status}" for status in sorted(set(statuses)))
    yield Line(asked="50 polls in a row", answer=f"{counted} in {time.monotonic() - started:.1f} s")


def _sends(gateway: Gateway) -> Iterator[Line]:
    """Costs test coins: one send of the minimum to a foreign address, then replays of it."""
    key = f"probe-{time.time_ns()}"
    body = {"wallet_id": gateway.wallet_id, "to": FOREIGN_ADDRESS, "amount_sat": 50_000}
    for asked, changes in (("a send", {}), ("its replay", {}), ("same key, other amount", {"amount_sat": 50_001})):
        try:
            yield _said(gateway, asked, gateway.call("wallet_send", body | changes, **{"X-SUBTC-IDEMPOTENCY": key}))
        except CallFailed as broken:
            yield Line(asked=asked, answer=f"broke off: {broken.reason}")


PROBES: dict[str, Probe] = {
    "1. Health": _health,
    "2. Keys": _keys,
    "3, 5. Wallets": _wallets,
    "4. Addresses": _addresses,
    "6. Polls": _polls,
    "7. Sends that must be refused": _refused_sends,
    "13. Rate limit": _burst,
}
BY_HAND = (
    "9. Pay the address below and poll every 10 s through 0, 1, 2, 3 and 6 confirmations.",
    "10. A blocking wait to its end; timeout_sec 0, 3600 and absent.",
    "11. A watch with a URL that records: body, headers, signature, repeats after a 500, http URL, redirect.",
    "12. Replace the payment by a fee bump after `reached`.",
    "14. Send 50,000, 50,001, 50,033 and 66,667 sat; compare the outputs on the chain with `sent_sat`.",
    "15. A bare w_ wallet, if you have one.",
)


def report_text(gateway: Gateway, found: list[tuple[str, list[Line]]]) -> str:
    """The report as Markdown."""
    lines = [f"# Probe of {gateway.base_url}, test network, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", ""]
    for title, answers in found:
        lines += [f"## {title}", "", "| asked | answered |", "|---|---|"]
        lines += [f"| {line.asked} | {line.answer} |" for line in answers] + [""]
    lines += ["## Left for a person", "", f"Address to pay: `{gateway.address}`", ""]
    return "\n".join([*lines, *(f"- {item}" for item in BY_HAND)]) + "\n"


@click.group()
def probe() -> None:
    """Ask an outside world what its documents leave open."""


@probe.command("subtc")
@click.option(
    "--testnet", is_flag=True, required=True, help="Say that you mean it: only test wallets are made and asked."
)
@click.option("--base-url", default="https://api.subtc.net", show_default=True)
@click.option(
    "--key-file", type=click.Path(exists=True, path_type=Path), required=True, help="A key made for this probe."
)
@click.option("--wallet-id", default="", help="A test wallet with coins, for --send; default: a new empty one.")
@click.option("--send", is_flag=True, help="Also send 50,000 test satoshi away and replay it.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("subtc-probe.md"), show_default=True)
def probe_subtc(base_url: str, key_file: Path, wallet_id: str, send: bool, report: Path, testnet: bool) -> None:
    """Run the live probes of a SUBTC gateway on its test network and write a report without secrets."""
    if not testnet or wallet_id.startswith("wm_"):
        raise click.ClickException("The probe is for the test network only.")
    Guard(allow_loopback=True).check_url(base_url)
    key = key_file.read_text(encoding="utf-8").strip()
    gateway = Gateway(base_url=base_url.rstrip("/"), key=key, wallet_id=wallet_id)
    found = run(gateway, sends=send)
    report.write_text(report_text(gateway, found), encoding="utf-8")
    broken = [title for title, lines in found if any(line.asked == "(broke off)" for line in lines)]
    click.echo(
        f"{report}: {sum(len(lines) for _, lines in found)} answers" + (f"; broke off: {broken}" if broken else "")
    )


COMMANDS = (probe,)
