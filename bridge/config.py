"""One YAML file to frozen, checked Settings.

Owns every setting, its default, its example and its check; must not build anything, `bridge.runtime` does, nor word a
validator's faults, `bridge.settings_file` does. Secrets come as references (${env:NAME}, ${file:/path}) and never show in a repr.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from bridge.core.addresses import check_payable, check_wallet_net
from bridge.core.books import Calendar, Reconciliation, RetentionDays
from bridge.core.claims import ClaimRules
from bridge.core.columns import ColumnMap
from bridge.core.credentials import LoginRules, decode_secret
from bridge.core.currencies import check_billable
from bridge.core.descriptors import Descriptor, parse_descriptor
from bridge.core.errors import Refused
from bridge.core.limits import (
    LONGEST_MAIL_ADDRESS,
    MAIL_ADDRESS,
    Bps,
    Count,
    Label,
    Positive,
    TimeZoneName,
    check_shown,
    like,
)
from bridge.core.offering import Offering
from bridge.core.payout import Approvals, PayoutRules, TreasuryLimits, TreasuryRules, rising
from bridge.core.policy import Policy, Stage, canonical, named
from bridge.core.quote import Guards, end_of
from bridge.settings_file import At, Fault, Schema, faults_of, looks_like_reference, misplaced, read_document
from bridge.settings_file import ConfigError as ConfigError

_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")
# What follows the ? of a price source may hold its key: there references stay as they are written, see `resolved`.
_KEPT_QUERY = re.compile(r"prices\.(?:\w+\.\d+\.)+url")
# What a pointer into XML may be: elements, each chosen by a child, an attribute or its place, and an attribute at the end.
_XML_POINTER = re.compile(r"""(?:/[\w.-]+(?:\[@?[\w.-]+='[^'\]]*'\]|\[[1-9][0-9]{0,3}\])?)+(?:/@[\w.-]+)?""")
_JSON_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_ASCII_ALONE = (
    "must be letters without accents, digits and signs (ASCII): the log-in of a mail server carries no others"
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Network = Literal["main", "test", "signet", "regtest"]


ANY_CURRENCY = "{currency}"
# It is kept with every quote and shown in lists.
PriceName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="a name of up to 64 letters, digits, dots, - and _"
    ),
    like("coinbase"),
]
# It may hold a password or a key, so it shows in no text of the settings.
PrivateUrl = Annotated[str, Field(repr=False)]
CaFile = Annotated[str | None, like("/etc/subtc-bridge/ca.pem")]
# The rules of `core`, each the section of the file that it is checked from.
NamedPolicy = Annotated[Policy, AfterValidator(named)]
RisingApprovals = Annotated[Approvals, AfterValidator(rising)]
RisingPayoutRules = Annotated[PayoutRules, AfterValidator(rising)]


def _database(value: str) -> str:
    if re.match(r"sqlite(\+\w+)?:///.|postgres(ql)?(\+\w+)?://", value):
        return value
    if ":" in value or "/" not in value:
        raise ValueError("must begin with sqlite:/// before a path, or with postgresql://")
    raise ValueError("is a path alone: write sqlite:/// before it")


def _port(value: str) -> str:
    port = value.rpartition(":")[2]
    if port.isdigit() and int(port) > 65_535:
        raise ValueError(f"there is no port {port}: the highest is 65535")
    return value


def _host(value: str) -> str:
    with suppress(ValueError):
        ip_address(value)
        return value
    try:
        value.encode("idna")
    except UnicodeError:
        raise ValueError("is no name of a host: a part of it is empty, too long or not allowed") from None
    if re.search(r"[\s:/@]", value) or not value:
        raise ValueError("must be the name of a host alone, such as mail.example.com")
    return value


def _billable(value: str) -> str:
    try:
        check_billable(value)
    except Refused as wrong:
        raise ValueError(wrong.detail) from None
    return value


def _long(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 24:
        raise ValueError("an API key needs at least 24 characters")
    return value


def _usable(value: SecretStr) -> SecretStr:
    try:
        decode_secret(value.get_secret_value())
    except Refused as wrong:
        raise ValueError(wrong.detail) from None
    return value


def _shown(kind: str) -> AfterValidator:
    """For what the payer's pages show as that."""
    return AfterValidator(lambda text: check_shown(kind, text))


def _shown_or_none(kind: str) -> AfterValidator:
    return AfterValidator(lambda text: text and check_shown(kind, text))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# The sections that say over which rails is paid; each is read by the file of that name in `bridge.rails`.
RAIL_SECTIONS = ("subtc", "own_wallet", "lnbits", "electrum")
# Over one of these every invoice is paid; the others are offered beside it.
FIRST_SECTIONS = ("subtc", "own_wallet")


class Subtc(_Section):
    """The wallet gateway."""

    base_url: Annotated[str, like("https://api.subtc.net")]
    key: Annotated[SecretStr, Field(min_length=1)]
    wallet_id: Annotated[str, like("wt_0000000000000000000000000000000000000000000a")]
    address_mode: Literal["inbox_create", "wallet_receive"] = "inbox_create"
    destination_field: Literal["to", "to_address"] = "to"
    fee_bps: Annotated[int | None, Field(ge=0, lt=10_000, strict=True)] = None
    calls_per_minute: Positive = 60
    timeout_seconds: Positive = 20
    callbacks: bool = True
    callback_base_url: Annotated[str | None, like("https://pay.example.com")] = None
    watch_seconds: Positive = 600
    callback_signature_header: Annotated[str | None, like("X-Signature")] = None
    callback_signature_secrets: tuple[SecretStr, ...] = ()
    spare_addresses: Count = 0

    @model_validator(mode="after")
    def _checkable(self) -> "Subtc":
        if self.callback_signature_header is not None and not self.callback_signature_secrets:
            raise ValueError(
                "callback_signature_header needs callback_signature_secrets: else every callback is refused"
            )
        return self


class FormerWallet(_Section):
    """A wallet at a gateway that took payments before: it is read until its last invoice is over, and nothing is sent from it.

    What is left out is as under subtc: another wallet of the same key, another key at the same gateway.
    """

    wallet_id: Annotated[str, like("wt_0000000000000000000000000000000000000000000a")]
    key: Annotated[SecretStr | None, Field(min_length=1)] = None
    base_url: Annotated[str | None, like("https://api.subtc.net")] = None
    role: Literal["hot", "billing"] = "hot"


class OwnWallet(_Section):
    """A wallet that only the shop can spend from, instead of the gateway: payers pay to addresses of its descriptor."""

    descriptor: Annotated[str, like("wpkh([d34db33f/84'/1'/0']tpub…/0/*)#checksum")]
    looks_per_minute: Positive = 600
    gap_limit: Positive = 20

    def source(self, *, network: str) -> Descriptor:
        """Raises Refused when the descriptor is not a public one of this network with a right checksum."""
        return parse_descriptor(self.descriptor, network=network, field="own_wallet.descriptor")


class Lnbits(_Section):
    """The shop's own LNbits, in front of its Lightning node: payers may pay there too."""

    url: Annotated[str, like("https://lnbits.example.com")]
    wallet_id: Annotated[
        str,
        Field(pattern=r"^[0-9a-f]{32}$", description="32 hexadecimal digits"),
        like("0123456789abcdef0123456789abcdef"),
    ]
    invoice_key: Annotated[SecretStr, Field(min_length=1)]
    admin_key: Annotated[SecretStr | None, Field(min_length=1)] = None
    callbacks: bool = True
    callback_base_url: Annotated[str | None, like("https://pay.example.com")] = None
    most_route_bps: Bps = 100
    max_held_sat: Count = 0
    most_sat: Positive = 10_000_000
    calls_per_minute: Positive = 120
    timeout_seconds: Positive = 20
    ca_file: CaFile = None
    invoices_of: Network | None = None


class Electrum(_Section):
    """The shop's own Electrum daemon, a Lightning node of its own: payers may pay there too."""

    url: Annotated[str, like("http://127.0.0.1:7777")]
    user: Annotated[str, Field(min_length=1), like("user")]
    password: Annotated[SecretStr, Field(min_length=1)]
    node_id: Annotated[
        str,
        Field(pattern=r"^0[23][0-9a-f]{64}$", description="66 hexadecimal digits that begin with 02 or 03"),
        like("02" + 32 * "ab"),
    ]
    wallet: Annotated[str | None, like("/var/lib/electrum/testnet/wallets/default_wallet")] = None
    wallet_password: Annotated[SecretStr | None, Field(min_length=1)] = None
    refunds: bool = False
    most_route_bps: Bps = 100
    max_held_sat: Count = 0
    most_sat: Positive = 10_000_000
    calls_per_minute: Positive = 600
    timeout_seconds: Positive = 20
    ca_file: CaFile = None


class CoreRpc(_Section):
    """A Bitcoin Core node as chain reader."""

    url: Annotated[PrivateUrl, like("http://127.0.0.1:18332")]
    user: Annotated[str, like("bridge")]
    password: SecretStr


class Chain(_Section):
    """Independent evidence. Without any reader only small invoices can settle, see provider_only_max_sat.

    `max_tip_age_seconds`: how old the newest block may be before a reader's silence counts for nothing; 0 is any age. By
    default two hours, and any age on regtest, where blocks come when somebody makes them.
    """

    esplora: Annotated[tuple[str, ...], like(("https://blockstream.info/testnet/api",))] = ()
    core_rpc: CoreRpc | None = None
    max_tip_age_seconds: Count | None = None


class PriceReading(_Section):
    """What is asked over HTTP and where in the answer the price stands. `url` and the pointers may hold {currency}.

    In `json` a pointer is a JSON pointer (/data/amount), in `xml` a path (/ValCurs/Valute[CharCode='USD']/Value, /ValCurs/@Date).
    `time_pointer`, where the source tells its time, lets an old price be noticed by its age; `time_zone` is of times that
    tell none. `units_pointer` leads to how many units the price is for.
    """

    url: Annotated[PrivateUrl, like("https://api.coinbase.com/v2/prices/BTC-{currency}/spot")]
    pointer: Annotated[str, like("/data/amount")]
    time_pointer: Annotated[str | None, like("/time")] = None
    units_pointer: Annotated[str | None, like("/nominal")] = None
    format: Literal["json", "xml"] = "json"
    decimal_comma: bool = False
    time_zone: TimeZoneName | None = None

    def pointers(self) -> dict[str, str]:
        """The pointers that are set, by the name of their setting."""
        found = {"pointer": self.pointer, "time_pointer": self.time_pointer, "units_pointer": self.units_pointer}
        return {name: pointer for name, pointer in found.items() if pointer is not None}


class PriceKind(_Section):
    """What every source under `prices` says of itself; the checks of prices ask nothing else."""

    # Where in its section the currency stands, for the fault that names it.
    currency_at: ClassVar[str] = ".currency"

    name: Annotated[str, like("coinbase")]

    def leads_to(self) -> str:
        """The currency that its number is of, ANY_CURRENCY when it is asked for one, "" when it does not say."""
        raise NotImplementedError

    def readings(self) -> dict[str, PriceReading]:
        """What is asked with a pointer, by its path below this section."""
        return {}

    def may_know(self, currency: str) -> bool:
        return self.leads_to() in ("", ANY_CURRENCY, currency)


class PriceSource(PriceKind, PriceReading):
    """One HTTP source of the price of a bitcoin: in any currency that `url` or `pointer` asks for, or in the one `currency`."""

    currency: Annotated[
        str | None, Field(pattern=r"^[A-Z]{3}$", description="a code of three capital letters"), like("USD")
    ] = None

    def leads_to(self) -> str:
        is_asked = any("{currency" in text for text in (self.url, self.pointer))
        return self.currency or (ANY_CURRENCY if is_asked else "")

    def readings(self) -> dict[str, PriceReading]:
        return {"": self}


class CrossPart(PriceReading):
    """One factor of a cross rate: what one unit of the first currency of `pair` costs in its second, which may be {currency}.

    `max_age_seconds`: a central bank's rate is good for days; without it prices.max_age_seconds holds. `keep_seconds`: an
    answer is used again for so long before the source is asked again.
    """

    name: PriceName
    pair: Annotated[
        str,
        Field(
            pattern=r"^[A-Z][A-Z0-9]{2,4}/([A-Z][A-Z0-9]{2,4}|\{currency\})$",
            description="two codes, of which the second may be {currency}",
        ),
        like("USD/RUB"),
    ]
    max_age_seconds: Positive | None = None
    keep_seconds: Count = 0

    @model_validator(mode="after")
    def _asked_for_its_pair(self) -> Self:
        is_any = any("{currency" in text for text in (self.url, *self.pointers().values()))
        if is_any != self.pair.endswith("{currency}"):
            raise ValueError(
                "{currency} stands in the pair just when it stands in url or pointer: else the price is another pair's"
            )
        return self


_CROSS = (
    {"name": "cbr", "pair": "USD/RUB", "url": "https://bank.example/usd-rub", "pointer": "/rate"},
    {
        "name": "bitstamp",
        "pair": "BTC/USD",
        "url": "https://www.bitstamp.net/api/v2/ticker/btcusd/",
        "pointer": "/last",
    },
)


class CrossSource(PriceKind):
    """A price made of several: RUB per BTC = USD/RUB × BTC/USD."""

    currency_at: ClassVar[str] = ""
    name: PriceName
    parts: Annotated[tuple[CrossPart, ...], Field(min_length=2, max_length=4), like(_CROSS)]

    @model_validator(mode="after")
    def _connected(self) -> Self:
        try:
            end_of([part.pair for part in self.parts])
        except Refused as wrong:
            raise ValueError(wrong.detail) from None
        return self

    def leads_to(self) -> str:
        return end_of([part.pair for part in self.parts])

    def readings(self) -> dict[str, PriceReading]:
        return {f".parts.{m}": part for m, part in enumerate(self.parts)}


@dataclass(frozen=True, kw_only=True)
class _PriceSources:
    # A base of its own, so that the sources are shown before what makes them good enough, as they stand in the file.
    sources: tuple[PriceSource, ...] = ()
    cross: tuple[CrossSource, ...] = ()
    fixed: Annotated[Mapping[str, str], like({"USD": "65000.00"})] = field(default_factory=dict)
    i_know_fixed_prices_lose_money: bool = False


@dataclass(frozen=True, kw_only=True)
class Prices(Guards, _PriceSources):
    """Where prices come from and when they are good enough."""

    keep_seconds: Count = 15

    def asked(self) -> dict[str, PriceKind]:
        """Every source of every kind that is asked, by its path below prices."""
        kinds = {each.name: getattr(self, each.name) for each in fields(_PriceSources)}
        asked = {kind: value for kind, value in kinds.items() if isinstance(value, tuple)}
        return {f"{kind}.{n}": each for kind, value in asked.items() for n, each in enumerate(value)}

    def sources_for(self, currency: str) -> int:
        """How many sources may know a price in it."""
        return sum(each.may_know(currency) for each in self.asked().values()) + bool(self.fixed)


def _enough(prices: Prices) -> Prices:
    if prices.fixed and not prices.i_know_fixed_prices_lose_money:
        raise ValueError("a fixed price needs i_know_fixed_prices_lose_money: true")
    names = [each.name for each in prices.asked().values()] + ["fixed"] * bool(prices.fixed)
    if len(names) < prices.min_sources:
        raise ValueError("fewer sources than min_sources: no quote could ever be made")
    if len(set(names)) != len(names):
        raise ValueError(f"two sources have the same name: {', '.join(sorted(names))}")
    return prices


EnoughPrices = Annotated[Prices, AfterValidator(_enough)]


class MailSettings(_Section):
    """The server that receipts go to payers over. Without this section none are sent."""

    host: Annotated[str, AfterValidator(_host), like("mail.example.com")]
    port: Annotated[int, Field(ge=1, le=65_535, strict=True)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Annotated[
        str,
        Field(pattern=MAIL_ADDRESS, max_length=LONGEST_MAIL_ADDRESS, description="one mail address"),
        like("billing@example.com"),
    ]
    username: Annotated[str, like("billing@example.com")] = ""
    password: Annotated[SecretStr | None, like("${file:/etc/subtc-bridge/mail-password}")] = None


class ScreeningSettings(_Section):
    """Who must not be served unasked: a list, a command, or both. Without either nobody is screened."""

    list_file: Annotated[str | None, like("/etc/subtc-bridge/screening.txt")] = None
    command: Annotated[tuple[str, ...], like(("/usr/local/bin/screen",))] = ()
    timeout_seconds: Positive = 10
    patience_seconds: Positive = 600


@dataclass(frozen=True, kw_only=True)
class _TreasuryWallets:
    # A base of its own, so that the wallets are shown before the limits, as they stand in the file.
    billing_wallet_id: Annotated[str | None, like("wt_0000000000000000000000000000000000000000000a")] = None
    cold_addresses: Annotated[tuple[str, ...], like(("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",))] = ()
    cold_descriptor: Annotated[str | None, like("wpkh([d34db33f/84'/1'/0']tpub…/0/*)#checksum")] = None


@dataclass(frozen=True, kw_only=True)
class TreasurySettings(TreasuryLimits, _TreasuryWallets):
    """The treasury's limits, and which wallet is for what; the hot one is subtc.wallet_id."""

    def rules(self, *, network: str) -> TreasuryRules:
        """Raises Refused naming the setting when a destination cannot be used."""
        field = "treasury.cold_addresses"
        cold = tuple(check_payable(a, network=network, field=field).text for a in self.cold_addresses)
        text, field = self.cold_descriptor, "treasury.cold_descriptor"
        descriptor = parse_descriptor(text, network=network, field=field) if text is not None else None
        limits = {each.name: getattr(self, each.name) for each in fields(TreasuryLimits)}
        return TreasuryRules(cold_addresses=cold, cold_descriptor=descriptor, **limits)


def _reachable(treasury: TreasurySettings) -> TreasurySettings:
    if treasury.sweep_mode in ("propose", "auto") and not (treasury.cold_addresses or treasury.cold_descriptor):
        raise ValueError("a sweep needs cold_addresses or a cold_descriptor to go to")
    if treasury.cold_addresses and treasury.cold_descriptor:
        raise ValueError("name cold_addresses or a cold_descriptor, not both")
    return treasury


ReachableTreasury = Annotated[TreasurySettings, AfterValidator(_reachable)]


class MerchantSettings(_Section):
    """One billing system."""

    id: Label
    api_keys: Annotated[tuple[Annotated[SecretStr, AfterValidator(_long)], ...], Field(min_length=1, max_length=2)]
    currencies: Annotated[
        tuple[Annotated[str, AfterValidator(_billable), like("RUB")], ...], Field(min_length=1), like(("RUB", "USD"))
    ]
    notify_url: Annotated[str | None, like("https://billing.example.com/mancgi/subtcresult")] = None
    notify_secrets: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_usable)], ...], Field(min_length=1, max_length=2)
    ]
    open_invoices_per_customer: Positive = 50
    policy: NamedPolicy = Policy()
    stage: Stage | None = None
    offering: Offering = {}

    @model_validator(mode="after")
    def _staged_whole(self) -> "MerchantSettings":
        named = self.stage.minor_per_day if self.stage is not None else {}
        if named and set(named) != set(self.currencies):
            raise ValueError(
                "stage.minor_per_day must name each of the currencies and no other: else one is without a limit"
            )
        return self

    def key_sha256s(self) -> list[str]:
        return [hashlib.sha256(key.get_secret_value().encode()).hexdigest() for key in self.api_keys]


class PolicyChangeSettings(_Section):
    """How many people must approve a change of the policy besides who proposed it. 0: a changed file is in force at once."""

    approvals: Annotated[int, Field(ge=0, le=5, strict=True)] = 0


class MerchantTerms(_Section):
    """What a policy version says about one merchant."""

    currencies: tuple[str, ...]
    open_invoices_per_customer: Positive
    policy: NamedPolicy
    stage: Stage | None = None
    offering: Offering = {}


# The kinds of price sources that every version has named, used or not.
_ALWAYS_SAID = ("sources", "cross")


class PolicyTerms(_Section):
    """Everything that decides about money, as one policy version keeps it. Whom the keys belong to is not in it."""

    approvals: Count
    merchants: Mapping[str, MerchantTerms]
    prices: EnoughPrices
    payouts: RisingPayoutRules
    marks: RisingApprovals
    treasury: ReachableTreasury

    def asked_prices(self) -> Prices:
        """The prices, each source with its currency: one that says none is of the only currency in use. Of several it is
        nobody's: a version that was stored before this was looked at gets no quote rather than a wrong one.
        """
        in_use = {currency for merchant in self.merchants.values() for currency in merchant.currencies}
        only = in_use.pop() if len(in_use) == 1 else None
        told = [
            s if s.leads_to() or only is None else s.model_copy(update={"currency": only}) for s in self.prices.sources
        ]
        return replace(self.prices, sources=tuple(source for source in told if source.leads_to()))

    def document(self) -> str:
        """The canonical text. The bridge numbers versions itself, and names of wallets are no rules."""
        left_out: Any = {"merchants": {"__all__": {"policy": {"version"}}}, "treasury": {"billing_wallet_id"}}
        document = self.model_dump(mode="json", exclude=left_out)
        # What is not used is not said: a release that does not know it goes on reading the version.
        for merchant in document["merchants"].values():
            if not merchant["offering"]:
                del merchant["offering"]
        prices = document["prices"]
        document["prices"] = {name: told for name, told in prices.items() if told != [] or name in _ALWAYS_SAID}
        return canonical(document)


class ShopSettings(_Section):
    """What the pay page shows of the shop."""

    name: str = "Hosting"
    support_url: Annotated[str, _shown_or_none("support_url"), like("https://example.com/support")] = ""
    logo_url: Annotated[str, _shown_or_none("logo_url"), like("/logo.svg")] = ""
    accent: Annotated[
        str, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="a colour, # and six hexadecimal digits")
    ] = "#b45309"
    accent_dark: Annotated[
        str,
        Field(pattern=r"^(|#[0-9a-fA-F]{6})$", description="a colour, # and six hexadecimal digits, or nothing"),
        like("#f5a54a"),
    ] = ""
    note: Annotated[
        dict[Annotated[str, _shown("language")], Annotated[str, _shown("note")]],
        like({"en": "Example Ltd, Registered in Example"}),
    ] = {}
    explorer_url_template: Annotated[
        str, _shown_or_none("explorer_url_template"), like("https://blockstream.info/testnet/tx/{txid}")
    ] = ""
    excess_refunds: bool = True


class Settings(_Section):
    """The whole file."""

    network: Annotated[Network, like("test")]
    database_url: Annotated[PrivateUrl, AfterValidator(_database), like("sqlite:////var/lib/subtc-bridge/bridge.db")]
    database_wait_seconds: Positive = 30
    # What this machine remembers of a server's database; the service manager names it to units.
    state_directory: Annotated[str, like("/var/lib/subtc-bridge")] = Field(
        default_factory=lambda: os.environ.get("STATE_DIRECTORY", "")
    )
    public_url: Annotated[str, like("https://pay.example.com")]
    listen: Annotated[
        str,
        AfterValidator(_port),
        Field(
            pattern=r"^(unix:.+|fd://[0-9]+|(tcp://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/]*):[0-9]{1,5})$",
            description="HOST:PORT",
        ),
    ] = "127.0.0.1:8080"
    web_processes: Positive = 2
    web_threads: Positive = 8
    worker_threads: Positive = 8
    worker_listen: Annotated[
        str, AfterValidator(_port), Field(pattern=r"^(|.+:[0-9]{1,5})$", description='HOST:PORT, or "" for none')
    ] = "127.0.0.1:8081"
    trusted_proxies: Count = 0
    requests_per_minute: Count = 0
    metrics_open: bool = True
    admin: bool = False
    token_secret: Annotated[SecretStr, Field(min_length=24)]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: Annotated[str | None, Field(repr=False), like("http://127.0.0.1:4318/v1/traces")] = None
    review_due_seconds: Positive = 86_400
    allow_hosts: Annotated[tuple[str, ...], like(("billing.internal",))] = ()
    clock_offset_file: Annotated[str | None, like("/tmp/clock")] = None
    crash_at: Annotated[str | None, like("open.claimed")] = None
    subtc: Subtc | None = None
    own_wallet: OwnWallet | None = None
    lnbits: Lnbits | None = None
    electrum: Electrum | None = None
    former_wallets: tuple[FormerWallet, ...] = ()
    chain: Chain = Chain()
    prices: EnoughPrices
    screening: ScreeningSettings = ScreeningSettings()
    mail: MailSettings | None = None
    books: Calendar = Calendar()
    reconciliation: Reconciliation = Reconciliation()
    claims: ClaimRules = ClaimRules()
    retention_days: RetentionDays = RetentionDays()
    archive_after_days: Annotated[int | None, Field(ge=30, strict=True), like(400)] = None
    receipt_key: SecretStr | None = None
    receipt_keys_former: Annotated[tuple[str, ...], like(("${file:/etc/subtc-bridge/receipt-2026.pem.pub}",))] = ()
    merchants: Annotated[tuple[MerchantSettings, ...], Field(min_length=1)]
    payouts: RisingPayoutRules = PayoutRules()
    marks: RisingApprovals = Approvals()
    treasury: ReachableTreasury = TreasurySettings()
    policy_changes: PolicyChangeSettings = PolicyChangeSettings()
    operators: LoginRules = LoginRules()
    shop: ShopSettings = ShopSettings()

    @model_validator(mode="after")
    def _safe(self) -> "Settings":
        if faults := list(_unsafe(self)):
            raise misplaced(faults)
        return self


def policy_terms(settings: Settings) -> PolicyTerms:
    """What the file says about money."""
    merchants = {m.id: MerchantTerms(**_words_of(m, MerchantTerms)) for m in settings.merchants}
    approvals = settings.policy_changes.approvals
    return PolicyTerms(**_words_of(settings, PolicyTerms) | {"approvals": approvals, "merchants": merchants})


def _words_of(section: _Section, terms: type[_Section]) -> dict[str, Any]:
    """What a section says under the names of the terms."""
    return {name: getattr(section, name) for name in terms.model_fields if name in type(section).model_fields}


def read_policy(document: str) -> PolicyTerms:
    """A stored version. Raises ConfigError when this program cannot read it: it may have been made by a later one."""
    try:
        return PolicyTerms.model_validate_json(document)
    except ValidationError as error:
        raise ConfigError(_lines(faults_of(error, PolicyTerms.model_json_schema()))) from None


def read_rules(document: Mapping[str, Any]) -> Policy:
    """What would stand under `policy` of a merchant. Raises ConfigError."""
    return _terms(policy=document).policy


def read_offering(document: Mapping[str, Any]) -> Offering:
    """What would stand under `offering` of a merchant. Raises ConfigError."""
    return _terms(policy={}, offering=document).offering


def _terms(**given: Mapping[str, Any]) -> MerchantTerms:
    try:
        return MerchantTerms.model_validate({"currencies": (), "open_invoices_per_customer": 1} | given)
    except ValidationError as error:
        raise ConfigError(_lines(faults_of(error, MerchantTerms.model_json_schema(), content=given))) from None


def _lines(faults: Iterable[Fault]) -> str:
    return "\n".join(fault.text() for fault in faults)


def cautions(settings: Settings) -> list[str]:
    """What can be used and should be looked at all the same: a line each, with its path in the file."""
    sources = {"treasury.cold_descriptor": settings.treasury.rules(network=settings.network).cold_descriptor}
    if settings.own_wallet is not None:
        sources["own_wallet.descriptor"] = settings.own_wallet.source(network=settings.network)
    return [f"{path}: {source.warning}" for path, source in sources.items() if source is not None and source.warning]


def _reached_urls(settings: Settings) -> dict[str, str]:
    """What is spoken to or reached over the network, by its path in the file; left-out ones are missing."""
    urls: dict[str, str | None] = {"public_url": settings.public_url}
    if settings.subtc is not None:
        urls |= {"subtc.base_url": settings.subtc.base_url}
        urls |= {"subtc.callback_base_url": settings.subtc.callback_base_url}
    if settings.lnbits is not None:
        urls |= {"lnbits.url": settings.lnbits.url, "lnbits.callback_base_url": settings.lnbits.callback_base_url}
    urls |= {f"former_wallets.{n}.base_url": former.base_url for n, former in enumerate(settings.former_wallets)}
    urls |= {f"merchants.{n}.notify_url": merchant.notify_url for n, merchant in enumerate(settings.merchants)}
    return {name: url for name, url in urls.items() if url is not None}


def _unsafe(settings: Settings) -> Iterator[Fault]:
    """What is wrong with settings that are each good alone."""
    for name, url in _reached_urls(settings).items():
        yield from _not_https(name, url, network=settings.network)
    if settings.otlp_endpoint is not None:
        # A collector on this machine is as near as the log.
        yield from _not_https("otlp_endpoint", settings.otlp_endpoint, network="test")
    if settings.electrum is not None:
        # The daemon knows no TLS: it is on this machine, or behind a proxy that does.
        yield from _not_https("electrum.url", settings.electrum.url, network="test")
    if settings.network == "main":
        if settings.clock_offset_file is not None:
            yield _fault("clock_offset_file", "is for the sandbox and never with network main")
        if settings.crash_at is not None:
            yield _fault("crash_at", "is for tests and never with network main")
        if settings.lnbits is not None and settings.lnbits.invoices_of is not None:
            yield _fault("lnbits.invoices_of", "is for tests with a pretended node and never with network main")
    ids = [merchant.id for merchant in settings.merchants]
    for n, name in enumerate(ids):
        if name in ids[:n]:
            yield _fault(f"merchants.{n}.id", "two merchants have the same id")
    yield from _not_distinct(settings)
    yield from _wrong_roles(settings)
    yield from _unsafe_mail(settings)
    yield from _wrong_prices(settings)
    yield from _wrong_former(settings)
    yield from _wrong_ids(settings)


def _fault(at: str, said: str) -> Fault:
    return Fault(at=tuple(at.split(".")), said=said)


def _not_https(name: str, url: str, *, network: str) -> Iterator[Fault]:
    parts = urlsplit(url)
    is_local_test = network != "main" and parts.hostname in _LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local_test):
        yield _fault(
            name,
            "must be https, such as https://pay.example.com (plain http only on loopback and never with network main)",
        )


def _not_distinct(settings: Settings) -> Iterator[Fault]:
    """One secret, one role: a leaked key must not open a second door. Several wallets of one gateway key are one role, and the password
    of a wallet's file is its daemon's alone.
    """
    seen: dict[str, str] = {}
    for path, secret in flat(settings.model_dump()):
        if not isinstance(secret, SecretStr) or path == "electrum.wallet_password":
            continue
        # The = that fill up a base64 may be left out: with and without them it is the same secret.
        text = secret.get_secret_value().rstrip("=")
        is_of_gateway = path.startswith("former_wallets.") and re.match(
            r"subtc\.key|former_wallets\.", seen.get(text, "")
        )
        if text in seen and not is_of_gateway:
            yield _fault(path, f"is the same secret as {seen[text]}: each needs one of its own")
        seen[text] = path


def _unsafe_mail(settings: Settings) -> Iterator[Fault]:
    mail = settings.mail
    if mail is None:
        return
    if mail.security == "none" and mail.host not in _LOOPBACK:
        yield _fault("mail.security", "must be starttls or tls: without either a letter can be read on its way")
    if bool(mail.username) != (mail.password is not None):
        yield _fault("mail.username", "goes with mail.password: both or neither")
    if not mail.username.isascii():
        yield _fault("mail.username", _ASCII_ALONE)
    if mail.password is not None and not mail.password.get_secret_value().isascii():
        yield _fault("mail.password", _ASCII_ALONE)


def _wrong_roles(settings: Settings) -> Iterator[Fault]:
    """Hot, billing and cold are different wallets: one wallet for all purposes is lost as a whole."""
    treasury, subtc, own = settings.treasury, settings.subtc, settings.own_wallet
    first = [name for name in FIRST_SECTIONS if getattr(settings, name) is not None]
    if len(first) != 1:
        said = f"one of {' and '.join(FIRST_SECTIONS)} says where payers pay to, not {'both' if first else 'neither'}"
        yield _fault(FIRST_SECTIONS[-1 if first else 0], said)
        return
    sends = settings.lnbits is not None and settings.lnbits.admin_key is not None
    if sends and settings.electrum is not None and settings.electrum.refunds:
        yield _fault(
            "electrum.refunds", "refunds over Lightning leave from one wallet, and lnbits.admin_key allows them too"
        )
    if subtc is not None and treasury.billing_wallet_id == subtc.wallet_id:
        yield _fault("treasury.billing_wallet_id", "is the same wallet as subtc.wallet_id")
    if own is not None:
        yield from _wrong_evidence(settings)
    try:
        rules = treasury.rules(network=settings.network)
        if own is not None:
            own.source(network=settings.network)
    except Refused as wrong:
        yield _fault(str(wrong.field), wrong.detail)
        return
    if len(set(rules.cold_addresses)) != len(rules.cold_addresses):
        yield _fault("treasury.cold_addresses", "names an address twice")


def _wrong_prices(settings: Settings) -> Iterator[Fault]:
    """What is asked of a file only: a stored policy version stays readable when a currency becomes history."""
    prices = settings.prices
    yield from _wrong_pointers(prices)
    yield from _wrong_currencies(settings)
    named = {f"fixed.{currency}": currency for currency in prices.fixed}
    named |= {f"{place}{each.currency_at}": each.leads_to() for place, each in prices.asked().items()}
    for place, currency in named.items():
        if currency in ("", ANY_CURRENCY):
            continue
        try:
            check_billable(currency)
        except Refused as wrong:
            yield _fault(f"prices.{place}", wrong.detail)
    for n, merchant in enumerate(settings.merchants):
        for currency in merchant.currencies:
            if (known := prices.sources_for(currency)) < prices.min_sources:
                detail = f"{currency} has {known} of {prices.min_sources} price sources: no quote could ever be made"
                yield _fault(f"merchants.{n}.currencies", detail)


def _wrong_currencies(settings: Settings) -> Iterator[Fault]:
    """One number is the price in one currency: else an invoice in rubles would be priced by a number in dollars."""
    in_use = sorted({currency for merchant in settings.merchants for currency in merchant.currencies})
    for place, source in settings.prices.asked().items():
        if len(in_use) > 1 and not source.leads_to():
            detail = (
                f"{source.name} would give one number for {', '.join(in_use)}: write {{currency}} in its url or pointer"
            )
            yield _fault(f"prices.{place}", f"{detail}, or say its currency, such as currency: {in_use[0]}")


def _wrong_pointers(prices: Prices) -> Iterator[Fault]:
    readings = {f"{at}{below}": it for at, each in prices.asked().items() for below, it in each.readings().items()}
    for place, reading in readings.items():
        form = _XML_POINTER if reading.format == "xml" else _JSON_POINTER
        for name, pointer in reading.pointers().items():
            if not form.fullmatch(pointer):
                shown = "/a/b[name='USD']/value" if reading.format == "xml" else "/data/amount"
                said = f"{pointer!r} is no {reading.format} pointer, such as {shown}"
                yield _fault(f"prices.{place}.{name}", said)


def _wrong_former(settings: Settings) -> Iterator[Fault]:
    """A former wallet is another one than those in use, of this network, and somebody says how to ask about it."""
    subtc = settings.subtc
    in_use = {subtc.wallet_id if subtc is not None else None, settings.treasury.billing_wallet_id}
    for n, former in enumerate(settings.former_wallets):
        if former.wallet_id in in_use:
            yield _fault(f"former_wallets.{n}.wallet_id", "is in use, or named twice")
        in_use.add(former.wallet_id)
        if subtc is None and (former.key is None or former.base_url is None):
            yield _fault(f"former_wallets.{n}", "without subtc it needs its own key and base_url")


def _wrong_ids(settings: Settings) -> Iterator[Fault]:
    """A wallet at a gateway is called as gateways call theirs, and may be of this network."""
    named = {f"former_wallets.{n}.wallet_id": each.wallet_id for n, each in enumerate(settings.former_wallets)}
    if settings.subtc is not None:
        named["subtc.wallet_id"] = settings.subtc.wallet_id
    if settings.treasury.billing_wallet_id is not None:
        named["treasury.billing_wallet_id"] = settings.treasury.billing_wallet_id
    for place, wallet_id in named.items():
        try:
            check_wallet_net(wallet_id, settings.network)
        except Refused as wrong:
            yield _fault(place, wrong.detail)


def _wrong_evidence(settings: Settings) -> Iterator[Fault]:
    """Without a gateway nobody but the chain says what came, and nothing can be sent by the bridge."""
    if not settings.chain.esplora and settings.chain.core_rpc is None:
        yield _fault("own_wallet", "needs a chain reader: chain.esplora or chain.core_rpc")
    if settings.treasury.billing_wallet_id is not None or settings.treasury.sweep_mode in ("propose", "auto"):
        yield _fault("treasury", "with own_wallet the bridge sends nothing: leave out billing_wallet_id and sweeps")


def flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of dumped settings, by its path."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from flat(item, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list | tuple) and value:
        for number, item in enumerate(value):
            yield from flat(item, f"{at}.{number}")
    else:
        yield at, value


def load_settings(path: str | Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads and checks the file. Raises ConfigError with one line per fault."""
    document = read_document(path)
    unread: list[Fault] = []
    raw = _resolve(document.content, os.environ if environ is None else environ, at=(), unread=unread)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        faults = faults_of(error, _schema(), content=raw)
        raise document.error([*unread, *(each for each in faults if not _follows(each, unread))]) from None
    if unread:
        raise document.error(unread)
    return settings


@cache
def _schema() -> Schema:
    return Settings.model_json_schema()


def _follows(fault: Fault, unread: Iterable[Fault]) -> bool:
    """Whether it is said of a setting, or of a section around it, whose secret could not be read."""
    return any(each.at[: len(fault.at)] == fault.at for each in unread)


class _ColumnFile(_Section):
    columns: ColumnMap


def load_column_map(path: str | Path) -> ColumnMap:
    """Reads a column map for `export`. Raises ConfigError with one line per fault."""
    document = read_document(path)
    try:
        return _ColumnFile.model_validate({"columns": document.content}).columns
    except ValidationError as error:
        schema = TypeAdapter(ColumnMap).json_schema()
        raise document.error(faults_of(error, schema, content=document.content, below=1)) from None


def _resolve(value: Any, environ: Mapping[str, str], *, at: At, unread: list[Fault]) -> Any:
    """The value with its references replaced; of those that cannot be, the fault goes to `unread`."""
    if isinstance(value, dict):
        return {key: _resolve(item, environ, at=(*at, key), unread=unread) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, environ, at=(*at, str(n)), unread=unread) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        found = _replaced(value, environ)
    except ConfigError as error:
        unread.append(Fault(at=at, said=str(error)))
        return value
    if not _KEPT_QUERY.fullmatch(".".join(at)):
        return found
    place, mark, query = value.partition("?")
    return _replaced(place, environ) + mark + query


def _replaced(text: str, environ: Mapping[str, str]) -> str:
    if said := looks_like_reference(text):
        raise ConfigError(said)
    return _REFERENCE.sub(lambda match: _referred(match[1], match[2], environ), text)


def resolved(url: str) -> str:
    """A price source's URL with the references in its query replaced: the key goes into the call and nowhere else."""
    try:
        return _replaced(url, os.environ)
    except ConfigError as error:
        raise ConfigError(f"prices: {error}") from None


def _referred(kind: str, name: str, environ: Mapping[str, str]) -> str:
    if kind == "env":
        if name not in environ:
            raise ConfigError(f"the environment has no {name}")
        return environ[name]
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not text in UTF-8") from None


def path_from_environment() -> str:
    """The settings file for servers that cannot pass an option."""
    return os.environ.get("SUBTC_BRIDGE_CONFIG", "config.yaml")
