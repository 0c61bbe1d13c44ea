"""The emulated gateway's books: API keys, their wallets, the addresses and what the chain says about them.

Must not speak HTTP or carry out faults. Modelled on public material about SUBTC only (contract sections 3-7); codes
other than SEND_FAILED, and every answer that section 10 lists as unknown, are our own choices.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from sandbox.addresses import random_address
from sandbox.chain import Chain, Input

STATUS_OF = {
    "UNAUTHORIZED": 401,
    "UNKNOWN_MODE": 400,
    "BAD_JSON": 400,
    "BAD_REQUEST": 400,
    "WALLET_NOT_FOUND": 404,
    "ADDRESS_NOT_FOUND": 404,
    "BAD_ADDRESS": 400,
    "AMOUNT_TOO_SMALL": 400,
    "IDEMPOTENCY_CONFLICT": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "RATE_LIMITED": 429,
    "NODE_UNAVAILABLE": 503,
    "SEND_FAILED": 502,
    "TIMEOUT": 504,
}


class GatewayError(Exception):
    """A failure the gateway answers with `ok:false`; `code` as in contract 12.4."""

    def __init__(self, code: str, hint: str) -> None:
        super().__init__(code)
        self.code, self.hint = code, hint


@dataclass(kw_only=True, slots=True)
class Wallet:
    wallet_id: str
    net: str
    received_on: list[str] = field(default_factory=list)
    inboxes: list[str] = field(default_factory=list)
    change: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        return self.received_on + self.inboxes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What an idempotency key stands for: the request it came with, and how that ended."""

    fingerprint: tuple[object, ...]
    result: dict[str, Any] | None
    error: tuple[str, str] | None = None


@dataclass(kw_only=True, slots=True)
class Account:
    """One API key: its wallets, and its idempotency records (kept for ever, scope API key; contract 10, EMU)."""

    key: str
    wallets: dict[str, Wallet] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)

    def wallet(self, wallet_id: str) -> Wallet:
        """The wallet with that id under this key; another key's wallet does not exist here."""
        if wallet_id not in self.wallets:
            raise GatewayError("WALLET_NOT_FOUND", "no such wallet under this key")
        return self.wallets[wallet_id]


class Gateway:
    """All accounts of the emulated gateway. Callers hold the world's lock."""

    def __init__(self, *, net: str, chain: Chain, rng: random.Random) -> None:
        self.net, self.chain, self._rng = net, chain, rng
        self.accounts: dict[str, Account] = {}
        self.owner_of: dict[str, Wallet] = {}
        self.fee_addr = random_address(net, rng)

    def request_id(self) -> str:
        """16 hex digits, new on every call (contract 4.1)."""
        return f"{self._rng.getrandbits(64):016x}"

    def create_key(self, key: str | None = None) -> Account:
        """Anyone may have a key (contract 5.2); `key` presets it for demos and benchmarks."""
        account = Account(key=key or "SUBTC-KEY-" + self._rng.randbytes(24).hex())
        self.accounts[account.key] = account
        return account

    def create_wallet(self, account: Account, *, net: str, version: str, wallet_id: str | None = None) -> Wallet:
        """A wallet with an id in the form of the gateway's `version` (contract 4.1)."""
        prefix = "w_" if version == "4.2" else ("wm_" if net == "main" else "wt_")
        wallet = Wallet(wallet_id=wallet_id or prefix + self._rng.randbytes(22).hex(), net=net)
        account.wallets[wallet.wallet_id] = wallet
        return wallet

    def mint(self, wallet: Wallet, *, inbox: bool, net: str | None = None) -> str:
        """A fresh address of `wallet`; another `net` only for the fault that hands out a foreign one."""
        address = random_address(net, self._rng) if net else self.chain.new_address()
        (wallet.inboxes if inbox else wallet.received_on).append(address)
        self.owner_of[address] = wallet
        return address

    def stray_address(self) -> str:
        """A valid address of the net that no wallet owns."""
        return random_address(self.net, self._rng)

    def mint_change(self, wallet: Wallet) -> str:
        """A hidden change address; it never shows among the wallet's addresses."""
        address = self.chain.new_address()
        wallet.change.append(address)
        return address

    def balance(self, wallet: Wallet) -> tuple[int, int]:
        """Confirmed and unconfirmed satoshi. Own change counts as confirmed, as in Core's `trusted` (contract 5.8)."""
        confirmed = sum(coin.value_sat for coin in self.coins(wallet))
        unconfirmed = sum(
            self.chain.transactions[txid].outputs[vout].value_sat
            for address in wallet.addresses
            for txid, vout in self.chain.outputs_of.get(address, ())
            if txid not in self.chain.heights and (txid, vout) not in self.chain.spenders
        )
        return confirmed, unconfirmed

    def immature_sat(self, wallet: Wallet) -> int:
        """What blocks have paid to the wallet as to their miner, and nobody can spend yet."""
        chain = self.chain
        places = [place for address in wallet.addresses for place in chain.outputs_of.get(address, ())]
        return sum(chain.transactions[txid].outputs[vout].value_sat for txid, vout in places if chain.is_immature(txid))

    def coins(self, wallet: Wallet) -> list[Input]:
        """What the wallet may spend: unspent confirmed receipts and its own change."""
        chain = self.chain
        found = []
        for addresses, must_confirm in ((wallet.addresses, True), (wallet.change, False)):
            for address in addresses:
                for txid, vout in chain.outputs_of.get(address, ()):
                    if (txid, vout) in chain.spenders or (must_confirm and txid not in chain.heights):
                        continue
                    if chain.is_immature(txid):
                        continue
                    sat = chain.transactions[txid].outputs[vout].value_sat
                    found.append(Input(txid=txid, vout=vout, address=address, value_sat=sat))
        return found
