"""The Prometheus metrics of the bridge, by name, and what the labels of its counters may be.

Owns the registry of one process; must not compute anything, callers count.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from bridge.core.evidence import VERDICTS
from bridge.core.invoice import STATUSES
from bridge.core.kinds import REVIEWS
from bridge.core.payout import KINDS, STATES

Made = TypeVar("Made", Counter, Histogram)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_SECONDS = (1, 5, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)


class Metrics:
    """All metrics, bound to one registry so that tests and processes do not share counts. Labels are bounded sets.

    Every counter stands at zero under every combination of its labels before its first event: one that is born with it never
    rises in Prometheus' eyes, and the increase of a first burst would be nothing.
    """

    def __init__(self, merchants: Iterable[str] = (), rails: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        merchants = tuple(merchants)
        self._count_invoices(merchants)
        self._count_money()
        self._count_books()
        self._count_queues()
        self._count_stages(merchants)
        self._count_rails(tuple(rails))

    def _count_invoices(self, merchants: Iterable[str]) -> None:
        self.invoices_opened = self._counter("bridge_invoices_opened", "Invoices opened", merchant=merchants)
        self.moves = self._counter("bridge_invoice_moves", "Changes of status", to=STATUSES)
        rings = ("new", "duplicate", "bad_signature", "unknown_token")
        self.callbacks = self._counter("bridge_callbacks", "Callbacks received", outcome=rings)
        looks = ("read", "unavailable", "failed")
        self.looks = self._counter("bridge_looks", "Own reads of an address", outcome=looks)
        tries = ("delivered", "retry", "parked")
        self.deliveries = self._counter("bridge_deliveries", "Tries to notify", outcome=tries)
        self.delivery_seconds = self._histogram("bridge_delivery_seconds", "Latency of notifications", _LATENCY_SECONDS)
        self.settlement_lag_seconds = self._histogram(
            "bridge_settlement_lag_seconds", "From first sight of money to settled", _LAG_SECONDS
        )
        self.reviews_opened = self._counter("bridge_reviews_opened", "Review items opened", kind=REVIEWS)
        self.quotes = self._counter("bridge_quotes", "Quotes made or refused", outcome=("made", "refused"))
        self.screenings = self._counter("bridge_screenings", "Screenings of payers", verdict=VERDICTS)
        self.open_invoices = self._gauge("bridge_open_invoices", "Invoices by status", "status")
        self.deliveries_waiting = self._gauge("bridge_deliveries_by_state", "Deliveries by state", "state")
        self.reviews_open = self._gauge("bridge_reviews_open", "Open review items", "kind")
        self.reviews_overdue = self._gauge("bridge_reviews_overdue", "Review items past their due time")
        says = "Until the first deadline of an open claim, negative past it"
        self.claim_due_seconds = self._gauge("bridge_claim_due_seconds", says, "state")

    def _count_money(self) -> None:
        self.payouts = self._counter("bridge_payout_moves", "Payouts by kind and new state", kind=KINDS, to=STATES)
        says = "Last balance read; former wallets as role:wallet"
        self.wallet_sat = self._gauge("bridge_wallet_confirmed_sat", says, "role")
        self.hot_cap_sat = self._gauge("bridge_hot_cap_sat", "The cap on the hot wallet, 0 is none")
        self.owed_sat = self._gauge("bridge_owed_sat", "What may have to go back to payers")
        self.stranded_sat = self._gauge("bridge_stranded_sat", "Free money below the minimum send")

    def _count_rails(self, rails: tuple[str, ...]) -> None:
        """How the ways to pay do. `rail` is a name of the settings' own."""
        self.rails = frozenset(rails)
        outcomes = ("made", "refused", "unavailable", "nonsense")
        says = "Offers beside the first way, asked for by payers"
        self.offers = self._counter("bridge_offers", says, rail=rails, outcome=outcomes)
        says = "From what was offered over a rail to its invoice settled"
        self.rail_settlement_seconds = self._histogram("bridge_rail_settlement_seconds", says, _LAG_SECONDS, rail=rails)
        self.ways_open = self._gauge("bridge_ways_open", "Offers beside the first that may be paid now", "rail")
        says = "Whether a rail beside the first is well, as it last said"
        self.rail_well = self._gauge("bridge_rail_well", says, "rail")
        says = "The most that can come in over a rail now, as it last said"
        self.rail_inbound_sat = self._gauge("bridge_rail_inbound_sat", says, "rail")

    def _count_stages(self, merchants: Iterable[str]) -> None:
        """How far the merchants on trial are with their day. `measure` is "invoices" or a currency."""
        by = ("merchant", "measure")
        self.stage_used = self._gauge("bridge_stage_used", "Opened today, invoices or minor units", *by)
        self.stage_limit = self._gauge("bridge_stage_limit", "Allowed per day, invoices or minor units", *by)
        refused = {"merchant": merchants, "limit": ("invoices", "amount")}
        self.stage_refusals = self._counter("bridge_stage_refusals", "Openings refused by the stage", **refused)

    def _count_queues(self) -> None:
        """What operations looks at: what waits, how old the prices are, how many calls are left."""
        self.queue_depth = self._gauge("bridge_queue_depth", "Rows that could be worked on now", "queue")
        self.queue_age_seconds = self._gauge("bridge_queue_age_seconds", "Since the oldest of them became due", "queue")
        says = "Calls to the gateway granted in the last minute"
        self.calls_spent = self._gauge("bridge_provider_calls_last_minute", says)
        self.calls_limit = self._gauge("bridge_provider_calls_limit", "Calls to the gateway allowed per minute")
        self.rate_age_seconds = self._gauge(
            "bridge_rate_age_seconds", "Age of the last price this program made", "currency"
        )
        says = "Between the sources of that price, in basis points"
        self.rate_spread_bps = self._gauge("bridge_rate_spread_bps", says, "currency")

    def _count_books(self) -> None:
        """What finance looks at: reconciliation, fees, how soon customers pay."""
        says = "Satoshi the last reconciliation could not explain, by side"
        self.recon_variance_sat = self._gauge("recon_variance_sat", says, "side")
        self.recon_findings = self._gauge("bridge_recon_findings", "Differences the last reconciliation found")
        says = "How long the last reconciliation took"
        self.recon_duration_seconds = self._gauge("bridge_recon_duration_seconds", says)
        self.recon_age_seconds = self._gauge("bridge_recon_age_seconds", "Since the last finished reconciliation")
        says = "Since the billing system's last whole report"
        self.billing_report_age_seconds = self._gauge("bridge_billing_report_age_seconds", says, "merchant")
        self.first_paid_seconds = self._histogram(
            "bridge_first_paid_seconds", "From a customer's first invoice to their first settled one", _LAG_SECONDS
        )
        self.doorbell_seconds = self._histogram(
            "bridge_doorbell_seconds", "From a callback to the own read that answers it", _LATENCY_SECONDS
        )
        self.fees_sat = self._gauge("bridge_fees_sat", "Satoshi paid in fees so far, by account", "account")

    def _counter(self, name: str, says: str, **labels: Iterable[str]) -> Counter:
        """A counter with all that each of its labels may be."""
        return _standing_at_zero(Counter(name, says, list(labels), registry=self.registry), labels)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(name, says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...], **labels: Iterable[str]) -> Histogram:
        made = Histogram(name, says, list(labels), buckets=buckets, registry=self.registry)
        return _standing_at_zero(made, labels) if labels else made

    def text(self, *, program: str = "", merchant: str = "") -> bytes:
        """The exposition format.

        `program` marks every sample: where several programs answer at one address in turn, a counter without it would seem
        to jump back at each scrape. `merchant` leaves out what belongs to another one.
        """
        return generate_latest(_Chosen(self.registry, program=program, merchant=merchant))


def _standing_at_zero(made: Made, labels: Mapping[str, Iterable[str]]) -> Made:
    for values in product(*labels.values()):
        made.labels(*values)
    return made


class _Chosen(CollectorRegistry):
    """The samples of a registry, marked and chosen."""

    def __init__(self, registry: CollectorRegistry, *, program: str, merchant: str):
        super().__init__()
        self._all, self._mark = registry, {"process": program} if program else {}
        self._merchant = merchant

    def collect(self) -> Iterator[Metric]:
        for metric in self._all.collect():
            own = [s for s in metric.samples if s.labels.get("merchant", self._merchant) == self._merchant]
            chosen = own if self._merchant else metric.samples
            metric.samples = [sample._replace(labels={**sample.labels, **self._mark}) for sample in chosen]
            yield metric
