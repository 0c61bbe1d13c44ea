"""What the installed machine must show: a paid order although its programs are killed, and closed doors.

Owns the order and what is looked at; must not repair anything.
"""

from collections.abc import Callable

from sandbox.demo import Walk
from tests.install.machine import Machine, WalkFailed, off_and_on, until
from tests.install.world import Site, stranger

WEB, WORKER = "subtc-bridge-web.service", "subtc-bridge-worker.service"
ONCE = ("subtc-bridge-backup.service", "subtc-bridge-check.service", "subtc-bridge-reconcile.service")


class HardWalk(Walk):
    """The demo's order; the worker dies when the money is on its way, the web server while the block is mined."""

    def __init__(self, site: Site, machine: Machine):
        super().__init__(site)
        self._machine = machine

    def begin(self) -> str:
        """The client's part up to the open pay page."""
        return f"{self.place_order()}; {self.open_pay_page()}"

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """What is left after `begin`."""
        return super().steps()[3:]

    def pay(self) -> str:
        return f"{super().pay()}; {self._kill(WORKER)}"

    def mine(self) -> str:
        return f"{self._kill(WEB)}; {super().mine()}"

    def _kill(self, unit: str) -> str:
        """SIGKILL for every program of the unit, then systemd's answer to it."""
        before = int(self._machine.shown(unit, "MainPID"))
        self._machine.run(f"systemctl kill --signal=KILL {unit}")
        until(lambda: self._machine.shown(unit, "MainPID") not in {str(before), "0"}, f"{unit} did not come back")
        until(lambda: self._machine.shown(unit, "ActiveState") == "active", f"{unit} did not come up")
        return f"{unit.removeprefix('subtc-bridge-')} killed and back"


class NextOrder(Walk):
    """One more order, undisturbed."""

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """All but the payment method, which is there."""
        return super().steps()[1:]


def closed_doors(names: dict[str, str], payment_url: str) -> str:
    """What a stranger gets from every door. Raises WalkFailed for one that is open, or for a payer's that is closed."""
    page = payment_url.removeprefix(f"https://{names['PAY']}")
    wanted = {
        (names["PAY"], 443, page): 200,
        (names["PAY"], 443, f"{page}/status"): 200,
        (names["PAY"], 443, "/.well-known/security.txt"): 200,
        **{
            (names["PAY"], 443, path): 404
            for path in ("/v1/invoices", "/v1/events", "/admin/", "/metrics", "/healthz", "/")
        },
        **{(names["INSIDE"], 8443, path): 403 for path in ("/v1/invoices", "/admin/", "/metrics", "/healthz")},
        (names["INSIDE"], 8080, "/healthz"): 0,
    }
    seen = {door: stranger(door[0], door[2], port=door[1]) for door in wanted}
    if wrong := {door: status for door, status in seen.items() if status != wanted[door]}:
        raise WalkFailed(f"a stranger got {wrong}")
    return f"{len(seen)} doors tried from an address on no list"


def supervised(machine: Machine) -> str:
    """systemd's own account of the services: restarted once, alone, without rights."""
    for unit in (WEB, WORKER):
        if (restarts := machine.shown(unit, "NRestarts")) != "1":
            raise WalkFailed(f"{unit} was restarted {restarts} times")
        status = machine.run(f"cat /proc/{machine.shown(unit, 'MainPID')}/status")
        rights = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        seen = (
            rights["CapEff"],
            rights["CapBnd"],
            rights["NoNewPrivs"],
            rights["Seccomp"],
            rights["Uid"].split()[0] != "0",
        )
        if seen != ("0" * 16, "0" * 16, "1", "2", True):
            raise WalkFailed(f"{unit} has more rights than it should: {seen}")
    return "each restarted once by systemd; no capability, no new privileges, filtered calls, not root"


def timers(machine: Machine) -> str:
    """The timers' services once each, a reload, and nothing failed."""
    for unit in ONCE:
        machine.run(f"systemctl start {unit} || {{ systemctl status --no-pager --full {unit}; exit 1; }}")
    machine.run(f"systemctl reload {WEB} {WORKER}")
    waiting = machine.run("systemctl list-timers --no-legend 'subtc-bridge-*'").splitlines()
    failed = machine.run("systemctl list-units --state=failed --no-legend").strip()
    if len(waiting) != len(ONCE) or failed:
        raise WalkFailed(f"timers {waiting}, failed units {failed}")
    return "backup, check and reconcile ran and wait for their hour; reload taken"


def up_again(machine: Machine, names: dict[str, str], payment_url: str) -> str:
    """Off and on again: everything starts by itself and the payer's page is there. Raises WalkFailed."""
    off_and_on(machine)
    page = payment_url.removeprefix(f"https://{names['PAY']}")
    until(lambda: stranger(names["PAY"], page) == 200, "the pay page is gone")
    until(lambda: machine.shown(WORKER, "ActiveState") == "active", "the worker did not start")
    return "the pay page is back, and the worker"


def clean_journal(machine: Machine) -> str:
    """No traceback, and no secret of the installation, in anything that the units wrote."""
    journal = machine.run("journalctl --no-pager --output=cat 'SYSLOG_IDENTIFIER=subtc-bridge'")
    secrets = [path.read_text().strip() for path in (machine.root / "etc/subtc-bridge/secrets").iterdir()]
    if "Traceback" in journal or any(secret in journal for secret in secrets):
        raise WalkFailed(f"the journal holds a traceback or a secret:\n{journal[-4000:]}")
    return f"{len(journal.splitlines())} lines without traceback or secret"
