"""The Prometheus metrics of the bridge, by name.

Owns the registry of one process; must not compute anything, callers count.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

_LATENCY_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_SECONDS = (1, 5, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)


class Metrics:
    """All metrics, bound to one registry so that tests and processes do not share counts. Labels are bounded sets."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.invoices_opened = Counter("bridge_invoices_opened", "Invoices opened", ["merchant"], registry=r)
        self.moves = Counter("bridge_invoice_moves", "Changes of status", ["to"], registry=r)
        self.callbacks = Counter("bridge_callbacks", "Callbacks received", ["outcome"], registry=r)
        self.looks = Counter("bridge_looks", "Own reads of an address", ["outcome"], registry=r)
        self.deliveries = Counter("bridge_deliveries", "Tries to notify", ["outcome"], registry=r)
        self.delivery_seconds = Histogram(
            "bridge_delivery_seconds", "Latency of notifications", buckets=_LATENCY_SECONDS, registry=r
        )
        self.settlement_lag_seconds = Histogram(
            "bridge_settlement_lag_seconds", "From first sight of money to settled", buckets=_LAG_SECONDS, registry=r
        )
        self.reviews_opened = Counter("bridge_reviews_opened", "Review items opened", ["kind"], registry=r)
        self.quotes = Counter("bridge_quotes", "Quotes made or refused", ["outcome"], registry=r)
        self.screenings = Counter("bridge_screenings", "Screenings of payers", ["verdict"], registry=r)
        self.open_invoices = Gauge("bridge_open_invoices", "Invoices by status", ["status"], registry=r)
        self.deliveries_waiting = Gauge("bridge_deliveries_by_state", "Deliveries by state", ["state"], registry=r)
        self.reviews_open = Gauge("bridge_reviews_open", "Open review items", ["kind"], registry=r)
        self.reviews_overdue = Gauge("bridge_reviews_overdue", "Review items past their due time", registry=r)
        self.payouts = Counter("bridge_payout_moves", "Payouts by kind and new state", ["kind", "to"], registry=r)
        self.wallet_sat = Gauge(
            "bridge_wallet_confirmed_sat",
            "Last balance read; former wallets as role:wallet",
            ["role"],
            registry=r,
        )
        self.hot_cap_sat = Gauge("bridge_hot_cap_sat", "The cap on the hot wallet, 0 is none", registry=r)
        self.owed_sat = Gauge("bridge_owed_sat", "What may have to go back to payers", registry=r)
        self.stranded_sat = Gauge("bridge_stranded_sat", "Free money below the minimum send", registry=r)

        self._count_books(r)
        self._count_queues(r)
        self._count_stages(r)

    def _count_stages(self, r: CollectorRegistry) -> None:
        """How far the merchants on trial are with their day. `measure` is "invoices" or a currency."""
        by = ["merchant", "measure"]
        self.stage_used = Gauge("bridge_stage_used", "Opened today, invoices or minor units", by, registry=r)
        self.stage_limit = Gauge("bridge_stage_limit", "Allowed per day, invoices or minor units", by, registry=r)
        self.stage_refusals = Counter(
            "bridge_stage_refusals", "Openings refused by the stage", ["merchant", "limit"], registry=r
        )

    def _count_queues(self, r: CollectorRegistry) -> None:
        """What operations looks at: what waits, how old the prices are, how many calls are left."""
        self.queue_depth = Gauge("bridge_queue_depth", "Rows that could be worked on now", ["queue"], registry=r)
        self.queue_age_seconds = Gauge(
            "bridge_queue_age_seconds", "Since the oldest of them became due", ["queue"], registry=r
        )
        self.calls_spent = Gauge(
            "bridge_provider_calls_last_minute", "Calls to the gateway granted in the last minute", registry=r
        )
        self.calls_limit = Gauge("bridge_provider_calls_limit", "Calls to the gateway allowed per minute", registry=r)
        self.rate_age_seconds = Gauge(
            "bridge_rate_age_seconds", "Age of the last price this program made", ["currency"], registry=r
        )
        self.rate_spread_bps = Gauge(
            "bridge_rate_spread_bps", "Between the sources of that price, in basis points", ["currency"], registry=r
        )

    def _count_books(self, r: CollectorRegistry) -> None:
        """What finance looks at: reconciliation, fees, how soon customers pay."""
        self.recon_variance_sat = Gauge(
            "recon_variance_sat", "Satoshi the last reconciliation could not explain, by side", ["side"], registry=r
        )
        self.recon_findings = Gauge("bridge_recon_findings", "Differences the last reconciliation found", registry=r)
        self.recon_duration_seconds = Gauge(
            "bridge_recon_duration_seconds", "How long the last reconciliation took", registry=r
        )
        self.recon_age_seconds = Gauge("bridge_recon_age_seconds", "Since the last finished reconciliation", registry=r)
        self.billing_report_age_seconds = Gauge(
            "bridge_billing_report_age_seconds",
            "Since the billing system's last whole report",
            ["merchant"],
            registry=r,
        )
        self.first_paid_seconds = Histogram(
            "bridge_first_paid_seconds",
            "From a customer's first invoice to their first settled one",
            buckets=_LAG_SECONDS,
            registry=r,
        )
        self.doorbell_seconds = Histogram(
            "bridge_doorbell_seconds",
            "From a callback to the own read that answers it",
            buckets=_LATENCY_SECONDS,
            registry=r,
        )
        self.fees_sat = Gauge("bridge_fees_sat", "Satoshi paid in fees so far, by account", ["account"], registry=r)

    def text(self, *, program: str = "", merchant: str = "") -> bytes:
        """The exposition format.

        `program` marks every sample: where several programs answer at one address in turn, a counter without it would seem
        to jump back at each scrape. `merchant` leaves out what belongs to another one.
        """
        return generate_latest(_Chosen(self.registry, program=program, merchant=merchant))


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
