"""A wallet at a SUBTC gateway: it gives addresses, says how much came, rings, and sends.

Owns its place among the rails: the wallet in use, the one for refunds, former ones. Decides nothing about money.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bridge.config import ConfigError, FormerWallet, Settings, Subtc
from bridge.core.evidence import Health, WalletBalance
from bridge.core.rail import TOTAL_AND_CHAIN, Doorbell, Offer, Rail, Sender, WalletReader, Wanted
from bridge.outbound import Limits
from bridge.rails.subtc.client import SubtcReader, SubtcWallet
from bridge.rails.subtc.wire import CallbackSignature

# Where the callbacks of this rail knock.
CALLBACKS = "callbacks/subtc"
# How long a watch is asked for where the settings have no gateway in use: of a former wallet.
WATCH_SECONDS = 600


class Reader(WalletReader, Protocol):
    """What can be read of a wallet at a gateway."""

    def balance(self) -> WalletBalance: ...


class Wallet(Reader, Sender, Protocol):
    """A wallet at a gateway with all that its key may do."""

    def create_inbox(self, *, expected_sat: int) -> str: ...

    def health(self) -> Health: ...


def rails(settings: Settings) -> tuple[Rail, ...]:
    """The hot wallet, the billing wallet and the former ones, as far as the settings name them."""
    subtc, billing_id = settings.subtc, settings.treasury.billing_wallet_id
    found = [_former(settings, each) for each in settings.former_wallets]
    if subtc is None:
        return tuple(found)
    if billing_id:
        billing = _wallet(settings, subtc, billing_id)
        found.insert(0, sending(billing, billing_id, role="billing", fee_bps=subtc.fee_bps))
    hot = _wallet(settings, subtc, subtc.wallet_id)
    receiving = receiving_rail(
        hot,
        subtc.wallet_id,
        fee_bps=subtc.fee_bps,
        spares=subtc.spare_addresses,
        calls_per_minute=subtc.calls_per_minute,
        doorbell=_doorbell(settings),
        callback_check=_callback_check(subtc),
    )
    return (receiving, *found)


def receiving_rail(wallet: Wallet, wallet_id: str, **more: Any) -> Rail:
    """The hot wallet: all that a gateway can do."""

    def asks(wanted: Wanted) -> Offer:
        return Offer(text=wallet.create_inbox(expected_sat=wanted.due_units))

    return sending(wallet, wallet_id, role="hot", asks=asks, **more)


def sending(wallet: Wallet, wallet_id: str, *, role: str, **more: Any) -> Rail:
    """A wallet that refunds can leave from."""
    return following(wallet, wallet_id, role=role, sends=wallet, health=lambda: wallet.health(), **more)


def following(reader: Reader, wallet_id: str, *, role: str = "hot", **more: Any) -> Rail:
    """A wallet that is only read: what was offered before is followed to its end. `more` are fields of Rail."""
    told: dict[str, Any] = {"reader": reader, "balance": reader.balance}
    return Rail(name="subtc", wallet_id=wallet_id, role=role, witness=TOTAL_AND_CHAIN, **told | more)


def _wallet(settings: Settings, subtc: Subtc, wallet_id: str) -> SubtcWallet:
    return SubtcWallet(
        base_url=subtc.base_url,
        key=subtc.key.get_secret_value,
        network=settings.network,
        wallet_id=wallet_id,
        limits=_limits(subtc),
        destination_field=subtc.destination_field,
        address_mode=subtc.address_mode,
    )


def _former(settings: Settings, former: FormerWallet) -> Rail:
    """What it leaves out is as under subtc; where there is none the settings made sure that it leaves out nothing."""
    subtc = settings.subtc
    key = former.key or (subtc.key if subtc is not None else None)
    base_url = former.base_url or (subtc.base_url if subtc is not None else None)
    if key is None or base_url is None:
        raise ConfigError("subtc: this needs a gateway in the settings")
    reader = SubtcReader(
        base_url=base_url,
        key=key.get_secret_value,
        network=settings.network,
        wallet_id=former.wallet_id,
        limits=_limits(subtc) if subtc is not None else Limits(),
    )
    return following(reader, former.wallet_id, role=former.role, doorbell=_doorbell(settings))


def _limits(subtc: Subtc) -> Limits:
    return Limits(read_seconds=subtc.timeout_seconds, deadline_seconds=subtc.timeout_seconds)


def _doorbell(settings: Settings) -> Doorbell | None:
    subtc = settings.subtc
    if subtc is None:
        return doorbell_at(settings.public_url)
    return doorbell_at(subtc.callback_base_url or settings.public_url, subtc.watch_seconds) if subtc.callbacks else None


def doorbell_at(base_url: str, seconds: int = WATCH_SECONDS) -> Doorbell:
    """Where a gateway that reaches us under this address knocks."""
    return Doorbell(url=f"{base_url.rstrip('/')}/{CALLBACKS}", seconds=seconds)


def _callback_check(subtc: Subtc) -> Callable[[Mapping[str, str], bytes], bool] | None:
    """Contract 6: whether a gateway signs is unknown, so this is switchable."""
    if subtc.callback_signature_header is None:
        return None
    secrets = [secret.get_secret_value().encode() for secret in subtc.callback_signature_secrets]
    return CallbackSignature(header=subtc.callback_signature_header, secrets=secrets).is_valid
