"""An office: a site with the operators' pages, its people, and what lies on their desks.

Owns names and short words; must not assert anything.
"""

import html
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge.context import Bridge
from bridge.core.credentials import STEP_SECONDS, token_sha256, totp
from bridge.core.payout import TreasuryRules
from bridge.core.policy import Policy, Rule
from bridge.desk.resolve_review import show_review
from bridge.invoices.deliver import deliver_due
from bridge.people.operators import add_operator, list_tokens, totp_secret
from bridge.store import operators
from bridge.web.admin.door import COOKIE
from tests.builders import World, build_merchant
from tests.fakes import answer
from tests.web.conftest import Site, build_site

STAFF = {"root": "admin", "fay": "finance", "sam": "support", "ann": "approver", "bob": "approver", "vic": "viewer"}
PASSWORD = "a long enough password"
PAYER = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
COLD = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"
DAY = 86_400
FORM = re.compile(r'<form method="post" action="([^"]+)">(.*?)</form>', re.DOTALL)
FIELD = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass(kw_only=True)
class Office:
    """Everybody at one bridge. Nobody here logs in with the slow hash of a password unless a test is about that."""

    site: Site
    clients: dict[str, FlaskClient] = field(default_factory=dict)

    @property
    def bridge(self) -> Bridge:
        return self.site.bridge

    @property
    def world(self) -> World:
        return self.site.world

    def client(self, name: str) -> FlaskClient:
        """The browser of one person, logged in."""
        if name not in self.clients:
            now = self.bridge.clock()
            values = {"operator": name, "csrf_token": f"csrf-of-{name}", "created_at": now, "seen_at": now}
            with self.bridge.store.write() as tx:
                digest = token_sha256(f"session-of-{name}")
                operators.add_session(tx, values | {"token_sha256": digest, "expires_at": now + timedelta(hours=12)})
            client = self.site.app.test_client()
            client.set_cookie(COOKIE, f"session-of-{name}", path="/admin")
            self.clients[name] = client
        return self.clients[name]

    def see(self, name: str, path: str) -> str:
        """What a person reads there."""
        response = self.client(name).get(f"/admin{path}", follow_redirects=True)
        assert response.status_code == 200, (path, response.status_code, response.text)
        assert response.request.path != "/admin/login", "the session is over"
        return html.unescape(response.text)

    def forms(self, name: str, path: str) -> dict[str, dict[str, str]]:
        """The forms that a page offers to a person: address and hidden fields."""
        text = self.client(name).get(f"/admin{path}", follow_redirects=True).text
        return {action: dict(FIELD.findall(body)) for action, body in FORM.findall(text)}

    def fill(self, name: str, path: str, action: str, /, **fields: Any) -> TestResponse:
        """A person opens a page, fills in the form whose address ends with `action` and sends it."""
        forms = self.forms(name, path)
        (address,) = [each for each in forms if each.endswith(action)]
        return self.post(name, address, **forms[address] | {"reason": "because I looked"} | fields)

    def post(self, name: str, address: str, /, **fields: Any) -> TestResponse:
        """Sends fields to an address, with the person's form token unless the fields say otherwise."""
        fields = {"csrf_token": f"csrf-of-{name}"} | fields
        return self.client(name).post(address, data=fields)

    def settled(self, billing_payment_id: str = "1001", **order: Any) -> dict[str, Any]:
        """An invoice that was paid and is final."""
        invoice = self.site.open(billing_payment_id, **order)
        self.site.pay(invoice, invoice["remaining_sat"], confirmations=6)
        return invoice

    def late(self, billing_payment_id: str = "2001") -> dict[str, Any]:
        """An invoice that was paid long after its end, so that a person must decide."""
        invoice = self.site.open(billing_payment_id)
        self.world.clock.advance(DAY + 7_300)
        self.site.pay(invoice, invoice["remaining_sat"], confirmations=6)
        return invoice

    def parked(self) -> str:
        """A message that the merchant refused; the id of its delivery."""
        self.deliver()
        self.settled("3001")
        self.world.billing.answers.append(answer("parked", 409))
        self.deliver()
        return self.delivery_ids("parked")[0]

    def deliver(self) -> None:
        deliver_due(self.bridge, owner="w1", limit=10, submit=lambda job: job())

    def delivery_ids(self, state: str) -> list[str]:
        return re.findall(r"/admin/deliveries/(dlv_\w+)", self.see("vic", f"/deliveries?state={state}"))

    def propose(self, invoice: dict[str, Any], **fields: Any) -> str:
        """Fay proposes a refund; the payout's id."""
        wanted = {"variant": "paid_sat", "destination": PAYER} | fields
        response = self.fill("fay", f"/invoices/{invoice['id']}", "/refund", **wanted)
        assert response.status_code == 303, response.text
        return response.location.rpartition("/")[2].partition("?")[0]

    def ring(self, invoice: dict[str, Any]) -> str:
        """The gateway calls back about an invoice; the stored callback's id."""
        token = self.bridge.callback_token(invoice["id"])
        assert self.site.call("POST", f"/callbacks/subtc/{token}", data=b"{}").status_code == 200
        page = self.see("vic", f"/invoices/{invoice['id']}")
        return re.findall(r"/admin/inbox/(in:\d+)", page)[-1]

    def mark(self, review: str) -> str:
        """Fay proposes that the invoice of an item counts as paid; the mark's id."""
        assert self.fill("fay", f"/reviews/{review}", "/resolve", decision="mark_settled").status_code == 303
        return str(show_review(self.bridge, review)["marks"][0]["id"])

    def token(self, name: str) -> str:
        """Root makes an API token for somebody; its id."""
        assert self.fill("root", f"/people/{name}", "/tokens", role="viewer", ends="2100-01-01").status_code == 200
        return str(list_tokens(self.bridge, name)[-1]["id"])

    def code_of(self, name: str) -> str:
        """What the person's telephone shows now."""
        with self.bridge.store.read() as tx:
            row = operators.find(tx, name)
        assert row is not None
        step = int(self.bridge.clock().timestamp()) // STEP_SECONDS
        return totp(totp_secret(self.bridge, name, row.totp_nonce), step)

    def hire(self, name: str, role: str) -> None:
        """A person with a real password."""
        add_operator(
            self.bridge, name=name, role=role, password=PASSWORD, expires_at=None, actor="root", reason="joins"
        )


def refusal(response: TestResponse) -> tuple[int, str]:
    """Status and machine code of a page that says no."""
    found = re.search(r'data-code="([^"]+)"', response.text)
    return response.status_code, found.group(1) if found else ""


def build_office(database_url: str, **options: Any) -> Office:
    """A site with operators; large invoices are affordable and a cold address is pinned."""
    policy = Policy(
        version="7",
        default=Rule(risk_bps=100, grace_seconds=30 * DAY),
        tiers={"trusted": Rule(name="trusted", tolerance_bps=50)},
    )
    treasury = TreasuryRules(cold_addresses=(COLD,), refund_float_sat=0, max_hot_sat=50_000_000)
    parts = {"merchants": {"shop": build_merchant(policy=policy)}, "treasury": treasury} | options.pop("bridge", {})
    site = build_site(database_url, admin=True, bridge=parts, **options)
    now = site.bridge.clock()
    with site.bridge.store.write() as tx:
        for name, role in STAFF.items():
            values = {"name": name, "role": role, "is_active": True, "password_hash": "", "totp_nonce": ""}
            operators.add(tx, values | {"created_at": now, "created_by": "setup"})
    return Office(site=site)


def ids_on(text: str, prefix: str) -> list[str]:
    """The ids that a page links to, such as those of "reviews/rev"."""
    folder, _, kind = prefix.partition("/")
    return re.findall(rf"/admin/{folder}/({kind}_\w+)", text)
