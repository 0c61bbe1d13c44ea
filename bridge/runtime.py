"""Settings to a working Bridge: the only module that names concrete clients.

Owns the wiring; must not hold a rule of its own.
"""

import base64
import hashlib
import hmac
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from bridge import tracing
from bridge.billmanager import Notifier
from bridge.chain.esplora import EsploraReader
from bridge.config import (
    ConfigError,
    MerchantSettings,
    PolicyTerms,
    Settings,
    policy_terms,
    read_policy,
    resolved,
)
from bridge.context import (
    BESIDE_CRASH_POINTS,
    CRASH_POINTS,
    PAYOUT_CRASH_POINTS,
    Bridge,
    Mailer,
    Merchant,
    PolicyFile,
    Signer,
    Uncounted,
    no_crash,
)
from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import Answer
from bridge.core.rail import Chain, Rail
from bridge.logs import log
from bridge.rails import rails_of
from bridge.rates.sources import RateReader, sources_of
from bridge.screening import CommandScreening, ListScreening, Screenings
from bridge.store.db import Store, Tx, open_store
from bridge.store.fence import Known
from bridge.store.generation import go_over

if TYPE_CHECKING:
    from bridge.metrics import Metrics

Made = TypeVar("Made")


class MerchantNotifier:
    """The port Billing over one Notifier: each merchant's URL and secrets stay here."""

    def __init__(self, merchants: tuple[MerchantSettings, ...], notifier: Notifier):
        self._notifier = notifier
        self.close = notifier.close
        self._targets = {
            m.id: (m.notify_url or "", tuple(s.get_secret_value() for s in m.notify_secrets)) for m in merchants
        }

    def notify(self, merchant: str, *, event_id: str, body: bytes, now: datetime) -> Answer:
        # Whom no setting names has neither: that is parked, for a person.
        url, secrets = self._targets.get(merchant, ("", ()))
        traceparent = tracing.header()
        return self._notifier.notify(
            url, event_id=event_id, body=body, secrets=secrets, now=now, traceparent=traceparent
        )


# Bitcoin finds a block each ten minutes: two hours without one happen about once in three years.
OLDEST_TIP_SECONDS = 7_200


class OffsetClock:
    """The system's clock plus the seconds in a file that the sandbox writes, so that a demo can travel in time."""

    def __init__(self, path: str):
        self._path = Path(path)

    def __call__(self) -> datetime:
        text = self._path.read_text().strip() if self._path.exists() else ""
        return datetime.now(UTC) + timedelta(seconds=int(text or 0))


def utc_now() -> datetime:
    return datetime.now(UTC)


def build(settings: Settings, *, is_counted: bool = True) -> Bridge:
    """Opens the database and builds every client. The schema must be migrated before.

    It works by what the file says until `people.policy` puts the active version in force. `is_counted`: whether it has metrics.
    """
    terms, rails = policy_terms(settings), rails_of(settings)
    clock = OffsetClock(settings.clock_offset_file) if settings.clock_offset_file else utc_now
    store = open_store(
        settings.database_url,
        pool_size=settings.web_threads + settings.worker_threads,
        limit_seconds=settings.database_wait_seconds,
        state_directory=state_directory_of(settings),
    )
    store.heed_failover(partial(_go_over, store, settings, clock))
    return Bridge(
        store=store,
        rails=rails,
        chain=_chain(settings),
        billing=MerchantNotifier(settings.merchants, Notifier(allow_private=frozenset(settings.allow_hosts))),
        clock=clock,
        network=settings.network,
        public_url=settings.public_url.rstrip("/"),
        callback_token=_token_maker(settings.token_secret.get_secret_value()),
        metrics=_metrics(settings, rails) if is_counted else Uncounted(),
        shop_name=settings.shop.name,
        review_due_seconds=settings.review_due_seconds,
        screening=_screening(settings),
        signer=_signer(settings),
        mailer=_mailer(settings),
        calendar=settings.books,
        reconciliation=settings.reconciliation,
        claims=settings.claims,
        retention_days=settings.retention_days,
        archive_after_days=settings.archive_after_days,
        screening_patience_seconds=settings.screening.patience_seconds,
        login=settings.operators,
        crash_point=_crash_point(settings.crash_at),
        policy_file=_policy_file(settings, terms.document()),
        oldest_tip=_oldest_tip(settings),
        **_under(settings, terms),
    )


def state_directory_of(settings: Settings) -> Path | None:
    return Path(settings.state_directory) if settings.state_directory else None


def _go_over(store: Store, settings: Settings, clock: Callable[[], datetime], tx: Tx) -> Known | None:
    begun = go_over(tx, store.fence, merchants=sorted(m.id for m in settings.merchants), now=clock())
    if begun is None:
        return None
    log("database.failed_over", level=logging.ERROR, generation=begun.known.number, may_lack=begun.is_lossy)
    return begun.known


def _metrics(settings: Settings, rails: Iterable[Rail]) -> "Metrics":
    from bridge.metrics import Metrics  # with the library of Prometheus, which no command needs

    return Metrics((m.id for m in settings.merchants), {rail.name for rail in rails})


def _under(settings: Settings, terms: PolicyTerms) -> dict[str, Any]:
    """The Bridge's fields that a policy version decides. A merchant is served when both the file and the version know it."""
    known, prices = [m for m in settings.merchants if m.id in terms.merchants], terms.asked_prices()
    return {
        "merchants": {
            m.id: Merchant(id=m.id, wants_push=m.notify_url is not None, **dict(terms.merchants[m.id])) for m in known
        },
        "rates": RateReader(sources_of(prices, resolved), keep_seconds=prices.keep_seconds),
        "guards": prices,
        "payouts": terms.payouts,
        "marks": terms.marks,
        "treasury": terms.treasury.rules(network=settings.network),
    }


def _policy_file(settings: Settings, document: str) -> PolicyFile:
    def reading(make: Callable[[PolicyTerms], Made]) -> Callable[[str], Made]:
        def read(stored: str) -> Made:
            try:
                return make(read_policy(stored))
            except (ConfigError, Refused) as error:
                detail = f"This program cannot work by the stored policy version: {error}"
                raise Unavailable("policy_unreadable", detail, retry_after_seconds=60) from None

        return read

    return PolicyFile(
        document=document,
        normal=reading(PolicyTerms.document),
        terms_of=reading(lambda terms: _under(settings, terms)),
    )


def export_spans(settings: Settings) -> None:
    """Turns OpenTelemetry on for this process when the settings say so; else it is not even imported. Raises ConfigError."""
    if settings.otlp_endpoint is None:
        return
    try:
        tracing.export_to(settings.otlp_endpoint)
    except ModuleNotFoundError:
        raise ConfigError(
            "otlp_endpoint: needs OpenTelemetry, pip install --require-hashes --no-deps -r deploy/otel.lock"
        ) from None


def api_keys(settings: Settings) -> Mapping[str, str]:
    """SHA-256 of every API key to its merchant's id: the keys themselves go no further."""
    return {digest: m.id for m in settings.merchants for digest in m.key_sha256s()}


def _chain(settings: Settings) -> Chain | None:
    chain = settings.chain
    if chain.core_rpc is not None:
        # Its library looks for OpenSSL when it is imported, with programs of the system.
        from bridge.chain.core_rpc import CoreRpcReader

        return CoreRpcReader(
            url=chain.core_rpc.url,
            user=chain.core_rpc.user,
            password=chain.core_rpc.password.get_secret_value,
            network=settings.network,
        )
    return EsploraReader(base_urls=chain.esplora, network=settings.network) if chain.esplora else None


def _oldest_tip(settings: Settings) -> timedelta | None:
    seconds = settings.chain.max_tip_age_seconds
    if seconds is None:
        seconds = 0 if settings.network == "regtest" else OLDEST_TIP_SECONDS
    return timedelta(seconds=seconds) if seconds else None


def _signer(settings: Settings) -> Signer | None:
    if settings.receipt_key is None:
        return None
    from bridge.receipts import DocumentSigner

    try:
        return DocumentSigner(settings.receipt_key.get_secret_value(), former=settings.receipt_keys_former)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _mailer(settings: Settings) -> Mailer | None:
    wanted = settings.mail
    if wanted is None:
        return None
    from bridge.mail import Smtp

    return Smtp(
        host=wanted.host,
        port=wanted.port,
        security=wanted.security,
        sender=wanted.sender,
        name=settings.shop.name,
        username=wanted.username,
        password=wanted.password.get_secret_value() if wanted.password is not None else "",
    )


def _screening(settings: Settings) -> Screenings | None:
    wanted, parts = settings.screening, list[ListScreening | CommandScreening]()
    if wanted.list_file is not None:
        parts.append(ListScreening(wanted.list_file))
    if wanted.command:
        parts.append(CommandScreening(wanted.command, timeout_seconds=wanted.timeout_seconds))
    return Screenings(parts) if parts else None


def _token_maker(secret: str) -> Callable[[str], str]:
    """128 bits per invoice, the same on every node and never stored: only their hash is."""

    def token(invoice_id: str) -> str:
        digest = hmac.new(secret.encode(), f"callback:{invoice_id}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")

    return token


def _crash_point(wanted: str | None) -> Callable[[str], None]:
    """A function that kills this very process with SIGKILL when the named point is reached: for tests of durability."""
    if wanted is None:
        return no_crash
    if wanted not in CRASH_POINTS + BESIDE_CRASH_POINTS + PAYOUT_CRASH_POINTS:
        raise ConfigError(f"crash_at: unknown point {wanted}")

    def crash(name: str) -> None:
        if name == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


def database_name(settings: Settings) -> str:
    """The database without its password, for people."""
    parts = urlsplit(settings.database_url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
