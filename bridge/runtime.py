"""Settings to a working Bridge: the only module that names concrete clients.

Owns the wiring; must not hold a rule of its own.
"""

import base64
import hashlib
import hmac
import os
import signal
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from bridge.billmanager.notify import Notifier
from bridge import tracing
from bridge.chain.core_rpc import CoreRpcReader
from bridge.chain.esplora import EsploraReader
from bridge.config import ConfigError, MerchantSettings, Settings, book_rules
from bridge.core.errors import Refused
from bridge.core.evidence import Answer
from bridge.flows.context import (
    CRASH_POINTS,
    PAYOUT_CRASH_POINTS,
    Billing,
    Bridge,
    Chain,
    LoginRules,
    Merchant,
    no_crash,
)
from bridge.metrics import Metrics
from bridge.outbound.connection import Limits
from bridge.rates.fixed import FixedPrice
from bridge.rates.http_source import HttpPriceSource
from bridge.rates.reader import RateReader, Source
from bridge.receipts import DocumentSigner
from bridge.screening import CommandScreening, ListScreening, Screenings
from bridge.store.db import open_store
from bridge.subtc.client import SubtcWallet
from bridge.subtc.signature import CallbackSignature


class MerchantNotifier:
    """The port Billing over one Notifier: each merchant's URL and secrets stay here."""

    def __init__(self, merchants: tuple[MerchantSettings, ...], notifier: Notifier):
        self._notifier = notifier
        self._targets = {
            m.id: (m.notify_url or "", tuple(s.get_secret_value() for s in m.notify_secrets)) for m in merchants
        }

    def notify(self, merchant: str, *, event_id: str, body: bytes, now: datetime) -> Answer:
        url, secrets = self._targets[merchant]
        traceparent = tracing.header()
        return self._notifier.notify(
            url, event_id=event_id, body=body, secrets=secrets, now=now, traceparent=traceparent
        )


class OffsetClock:
    """The system's clock plus the seconds in a file that the sandbox writes, so that a demo can travel in time."""

    def __init__(self, path: str):
        self._path = Path(path)

    def __call__(self) -> datetime:
        text = self._path.read_text().strip() if self._path.exists() else ""
        return datetime.now(UTC) + timedelta(seconds=int(text or 0))


def utc_now() -> datetime:
    return datetime.now(UTC)


def build(settings: Settings) -> Bridge:
    """Opens the database and builds every client. The schema must be migrated before."""
    billing_id = settings.treasury.billing_wallet_id
    return Bridge(
        store=open_store(settings.database_url, pool_size=settings.web_threads + settings.worker_threads),
        wallet=_wallet(settings, settings.subtc.wallet_id),
        chain=_chain(settings),
        rates=_rates(settings),
        billing=_billing(settings),
        clock=OffsetClock(settings.clock_offset_file) if settings.clock_offset_file else utc_now,
        merchants={m.id: _merchant(m) for m in settings.merchants},
        network=settings.network,
        wallet_id=settings.subtc.wallet_id,
        public_url=settings.public_url.rstrip("/"),
        callback_url=_callback_url(settings),
        callback_token=_token_maker(settings.token_secret.get_secret_value()),
        metrics=Metrics(),
        guards=settings.prices.guards(),
        review_due_seconds=settings.review_due_seconds,
        watch_seconds=settings.subtc.watch_seconds,
        provider_calls_per_minute=settings.subtc.calls_per_minute,
        spare_addresses=settings.subtc.spare_addresses,
        screening=_screening(settings),
        signer=_signer(settings),
        books=book_rules(settings),
        screening_patience_seconds=settings.screening.patience_seconds,
        billing_wallet=_wallet(settings, billing_id) if billing_id else None,
        billing_wallet_id=billing_id or "",
        payouts=settings.payouts.rules(),
        treasury=settings.treasury.rules(network=settings.network),
        login=LoginRules(**settings.operators.model_dump()),
        crash_point=_crash_point(settings.crash_at),
    )


def api_keys(settings: Settings) -> Mapping[str, str]:
    """SHA-256 of every API key to its merchant's id: the keys themselves go no further."""
    return {digest: m.id for m in settings.merchants for digest in m.key_sha256s()}


def callback_check(settings: Settings) -> Callable[[Mapping[str, str], bytes], bool] | None:
    """Whether a callback's signature is right, or None when no check is configured (SUBTC contract 6: unknown, so switchable)."""
    header = settings.subtc.callback_signature_header
    if header is None:
        return None
    secrets = [secret.get_secret_value().encode() for secret in settings.subtc.callback_signature_secrets]
    signature = CallbackSignature(header=header, secrets=secrets)

    def is_valid(headers: Mapping[str, str], body: bytes) -> bool:
        try:
            signature.check(headers, body)
        except Refused:
            return False
        return True

    return is_valid


def _wallet(settings: Settings, wallet_id: str) -> SubtcWallet:
    subtc = settings.subtc
    return SubtcWallet(
        base_url=subtc.base_url,
        key=subtc.key.get_secret_value,
        network=settings.network,
        wallet_id=wallet_id,
        limits=Limits(read_seconds=subtc.timeout_seconds, deadline_seconds=subtc.timeout_seconds),
        destination_field=subtc.destination_field,
        address_mode=subtc.address_mode,
    )


def _chain(settings: Settings) -> Chain | None:
    chain = settings.chain
    if chain.core_rpc is not None:
        return CoreRpcReader(
            url=chain.core_rpc.url,
            user=chain.core_rpc.user,
            password=chain.core_rpc.password.get_secret_value,
            network=settings.network,
        )
    return EsploraReader(base_urls=chain.esplora) if chain.esplora else None


def _rates(settings: Settings) -> RateReader:
    prices = settings.prices
    sources: list[Source] = [
        HttpPriceSource(
            name=source.name, url_template=source.url, pointer=source.pointer, time_pointer=source.time_pointer
        )
        for source in prices.sources
    ]
    if prices.fixed:
        sources.append(FixedPrice(prices.fixed))
    return RateReader(sources, keep_seconds=prices.keep_seconds)


def _billing(settings: Settings) -> Billing:
    return MerchantNotifier(settings.merchants, Notifier(allow_private=frozenset(settings.allow_hosts)))


def _signer(settings: Settings) -> DocumentSigner | None:
    if settings.receipt_key is None:
        return None
    try:
        return DocumentSigner(settings.receipt_key.get_secret_value())
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _screening(settings: Settings) -> Screenings | None:
    wanted, parts = settings.screening, list[ListScreening | CommandScreening]()
    if wanted.list_file is not None:
        parts.append(ListScreening(wanted.list_file))
    if wanted.command:
        parts.append(CommandScreening(wanted.command, timeout_seconds=wanted.timeout_seconds))
    return Screenings(parts) if parts else None


def _merchant(settings: MerchantSettings) -> Merchant:
    return Merchant(
        id=settings.id,
        currencies=settings.currencies,
        policy=settings.policy.policy(),
        wants_push=settings.notify_url is not None,
        open_invoices_per_customer=settings.open_invoices_per_customer,
    )


def _callback_url(settings: Settings) -> str | None:
    if not settings.subtc.callbacks:
        return None
    return (settings.subtc.callback_base_url or settings.public_url).rstrip("/")


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
    if wanted not in CRASH_POINTS + PAYOUT_CRASH_POINTS:
        raise ConfigError(f"crash_at: unknown point {wanted}")

    def crash(name: str) -> None:
        if name == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


def database_name(settings: Settings) -> str:
    """The database without its password, for people."""
    parts = urlsplit(settings.database_url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
