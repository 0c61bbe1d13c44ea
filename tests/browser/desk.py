"""The operators' pages for the browser: an office with something on every desk, its pages, and who looks at each.

Owns their names and how each is reached; must not judge what is seen.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from bridge.books.keep_books import seal_audit
from bridge.books.reconcile import step
from bridge.desk.claims import close_claim, open_claim
from bridge.desk.resolve_review import list_reviews, resolve, show_review
from bridge.store.db import migrate
from bridge.web.admin.door import COOKIE
from tests.admin.office import Office, build_office, ids_on
from tests.browser.chromium import served
from tests.browser.pages import View, open_context

PAGES = {
    "desk_login": ("", "/login"),
    "desk_today": ("vic", "/"),
    "desk_invoices": ("vic", "/invoices"),
    "desk_invoice": ("fay", "/invoices/{invoice}"),
    "desk_search": ("vic", "/search?q=100.00"),
    "desk_claims": ("vic", "/claims"),
    "desk_claim": ("sam", "/claims/{claim}"),
    "desk_ruled": ("vic", "/reviews/{ruled}"),
    "desk_reviews": ("vic", "/reviews"),
    "desk_review": ("fay", "/reviews/{review}"),
    "desk_mark": ("ann", "/reviews/{marked}"),
    "desk_deliveries": ("sam", "/deliveries"),
    "desk_delivery": ("sam", "/deliveries/{delivery}"),
    "desk_payouts": ("ann", "/payouts"),
    "desk_payout": ("ann", "/payouts/{payout}"),
    "desk_treasury": ("fay", "/treasury"),
    "desk_reconciliation": ("fay", "/reconciliation"),
    "desk_run": ("fay", "/reconciliation/{run}"),
    "desk_policy": ("vic", "/policy"),
    "desk_audit": ("vic", "/audit?verify=1"),
    "desk_modes": ("root", "/modes"),
    "desk_exports": ("fay", "/exports"),
    "desk_people": ("root", "/people"),
    "desk_person": ("root", "/people/sam"),
}


@dataclass(frozen=True, kw_only=True)
class ServedOffice:
    """An office on loopback. `ids`: what is on its desks, by kind."""

    office: Office
    base: str
    ids: dict[str, str]

    def url(self, path: str, *, lang: str = "en") -> str:
        joint = "&" if "?" in path else "?"
        return f"{self.base}/admin{path.format(**self.ids)}{joint}lang={lang}"

    def context(self, browser: Browser, view: View, name: str) -> BrowserContext:
        """A fresh profile in which a person is logged in; nobody when the name is empty."""
        opened = open_context(browser, view)
        if name:
            self.office.client(name)
            opened.add_cookies([{"name": COOKIE, "value": f"session-of-{name}", "url": f"{self.base}/admin/"}])
        return opened


@contextmanager
def open_office(folder: Path) -> Iterator[ServedOffice]:
    """An office over its own database, furnished and served."""
    url = f"sqlite:///{folder / 'office.db'}"
    migrate(url)
    office = build_office(url)
    with closing(office.bridge.store), served(office.site.app) as base:
        yield ServedOffice(office=office, base=base, ids=furnish(office))


def furnish(office: Office) -> dict[str, str]:
    """Money that settled on several days, a late payment, a part, a manual mark, a refund and a sweep to approve, a parked message."""
    for day in range(6):
        office.world.rates.prices["USD"] = 6_500_000 + (-1) ** day * 40_000 * day
        office.world.rates.apart_bps = 3 + 5 * (day % 3)
        for number in range(1 + day % 3):
            invoice = office.site.open(str(100 + 10 * day + number), amount="100.00", description="VPS Start, 1 month")
            office.site.pay(invoice, invoice["remaining_sat"])
            office.world.clock.advance(600 * (1 + number))
            office.world.money.mine(6)
            office.site.look(invoice)
        office.deliver()
        office.world.clock.advance(79_000)
    ended = office.late("2004")
    marked = office.site.open("2003")
    late = office.late()
    office.site.pay(marked, marked["remaining_sat"] // 2, confirmations=6)
    part = office.site.open("2002")
    office.site.pay(part, part["remaining_sat"] // 2, confirmations=1)
    office.clients.clear()
    invoice = office.settled("4001", amount="300.00", customer={"id": "77", "email": "payer@customer.example"})
    delivery = office.parked()
    run = office.fill("fay", "/reconciliation", "/run").location.partition("?")[0].rpartition("/")[2]
    while not step(office.bridge, run).is_over:
        pass
    payout = office.propose(invoice)
    office.fill("fay", "/treasury", "/sweep")
    seal_audit(office.bridge, owner="w1", limit=10_000)
    asked = dict.fromkeys(ids_on(office.see("vic", "/reviews?kind=late"), "reviews/rev"))
    of_invoice = {show_review(office.bridge, each)["invoice_id"]: each for each in asked}
    review, question = of_invoice[late["id"]], of_invoice[marked["id"]]
    office.mark(question)
    office.token("sam")
    who = {"actor": "sam", "reason": "the client called"}
    claim = open_claim(
        office.bridge, part["id"], said="I sent all of it on Monday from my wallet", claimed_sat=15_600, **who
    )
    other = open_claim(office.bridge, invoice["id"], said="Paid twice", **who)
    close_claim(office.bridge, other["id"], outcome="declined", **who)
    [ruled] = [each["id"] for each in list_reviews(office.bridge, match={"kind": "late", "state": "open"}, limit=50)
               if each["invoice_id"] == ended["id"]]  # fmt: skip
    resolve(office.bridge, ruled, decision="accept_late", actor="fay", reason="five minutes late")
    ids = {"claim": claim["id"], "ruled": ruled} | {
        "invoice": invoice["id"],
        "late": late["id"],
        "review": review,
        "marked": question,
        "delivery": delivery,
    }
    return ids | {"payout": payout, "run": run}
