"""Double entry in satoshi: which journals take an invoice's books from where they are to where the decision puts them.

Owns the accounts and the kinds of journals; must not know how they are stored.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bridge.core.invoice import Decision
from bridge.core.money import BTC

# What payers call the ways to pay.
Way = Literal["bitcoin", "lightning"]
# Where wallets' money stands: an account for each rail that invoices may be paid over, with the way that its payers chose; nobody
# pays to the one that has none.
WALLETS: Mapping[str, Way | None] = {
    "wallet:hot": "bitcoin",
    "wallet:billing": None,
    "wallet:cold": "bitcoin",
    "wallet:lightning": "lightning",
}
RECEIVING = tuple(account for account, way in WALLETS.items() if way is not None)
ASSETS = (*WALLETS, "inflight:unconfirmed", "inflight:sweep", "inflight:refund")
LIABILITIES = ("customer:unallocated", "customer:prepayment", "customer:overpayment", "refunds_payable")
EXPENSES = ("provider_fee", "network_fee", "tolerance")
INCOME = ("quote_buffer",)
EQUITY = ("opening",)
MEMO = ("reserved", "reserved_contra")
ACCOUNTS = frozenset(ASSETS + LIABILITIES + EXPENSES + INCOME + EQUITY + MEMO)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One leg, positive is debit. `units` are satoshi for asset "BTC", else minor units of the memo's currency."""

    account: str
    units: int
    asset: str = BTC


@dataclass(frozen=True, kw_only=True)
class Journal:
    """A balanced set of entries. Raises ValueError when it does not sum to zero in every asset: a defect, never
    stored.
    """

    kind: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for asset in {e.asset for e in self.entries}:
            if sum(e.units for e in self.entries if e.asset == asset) != 0:
                raise ValueError(f"journal {self.kind} does not balance in {asset}")
        if unknown := {e.account for e in self.entries} - ACCOUNTS:
            raise ValueError(f"unknown accounts {sorted(unknown)}")


@dataclass(frozen=True, kw_only=True)
class Books:
    """An invoice's own amounts, all zero or above. `used_sat` is what settled it, buffers included, absorbed shortage
    excluded. `beside` is what of `confirmed_sat` lies on another account than what came to the first target.
    """

    reserved_minor: int = 0
    unconfirmed_sat: int = 0
    confirmed_sat: int = 0
    used_sat: int = 0
    buffer_sat: int = 0
    absorbed_sat: int = 0
    over_sat: int = 0
    refundable_sat: int = 0
    beside: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_balances(cls, balances: Mapping[str, int], *, beside: Iterable[str] = ()) -> "Books":
        """From signed balances of the invoice's receipt journals, account to units; `beside` are accounts of its later targets."""
        tolerance = balances.get("tolerance", 0)
        buffer = -balances.get("quote_buffer", 0)
        return cls(
            reserved_minor=balances.get("reserved", 0),
            unconfirmed_sat=balances.get("inflight:unconfirmed", 0),
            confirmed_sat=sum(balances.get(account, 0) for account in RECEIVING),
            used_sat=-balances.get("customer:prepayment", 0) - tolerance + buffer,
            buffer_sat=buffer,
            absorbed_sat=tolerance,
            over_sat=-balances.get("customer:overpayment", 0),
            refundable_sat=-balances.get("refunds_payable", 0),
            beside={account: balances[account] for account in set(beside) if balances.get(account)},
        )

    @classmethod
    def of_decision(
        cls, decision: Decision, *, amount_minor: int, verdict: str | None, beside: Mapping[int, str] | None = None
    ) -> "Books":
        """Where a decision wants the books to be. Money that settles nothing yet stays with `customer:unallocated`.

        `beside` are the accounts of targets that money of their own account came to.
        """
        is_settled = decision.status == "settled"
        firm = decision.firm
        is_over = decision.status in ("settled", "invalid") or decision.closed
        return cls(
            reserved_minor=0 if is_over else amount_minor,
            unconfirmed_sat=decision.received_sat - decision.confirmed_sat,
            confirmed_sat=decision.confirmed_sat,
            used_sat=firm.received_sat - decision.excess_sat if is_settled else 0,
            buffer_sat=firm.buffer_sat if is_settled else 0,
            absorbed_sat=firm.absorbed_sat if is_settled else 0,
            over_sat=decision.excess_sat if is_settled else 0,
            refundable_sat=decision.confirmed_sat if verdict == "refund" else 0,
            beside=_beside(decision, beside or {}),
        )


def _beside(decision: Decision, accounts: Mapping[int, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for target_id, sat in decision.confirmed_by_target:
        account = accounts.get(target_id) if target_id is not None else None
        if account is not None:
            found[account] = found.get(account, 0) + sat
    # As the journals have it: what nothing lies on has no entry.
    return {account: sat for account, sat in found.items() if sat}


def journals(before: Books, after: Books, *, currency: str, wallet: str = "wallet:hot") -> tuple[Journal, ...]:
    """The journals that lead from `before` to `after`, none when they are equal. Every one balances by itself.

    `wallet` is the account of the rail that its first target is paid over. A changed settlement is reversed by its exact
    mirror and posted anew, never edited.
    """
    reserve = after.reserved_minor - before.reserved_minor
    memo = _journal(
        "reserve" if reserve > 0 else "release",
        (("reserved", reserve), ("reserved_contra", -reserve)),
        asset=currency,
    )
    steps = [*_unallocated(before, after), *_moved(before, after, wallet), *_allocated(before, after), memo]
    return tuple(step for step in steps if step is not None)


def _journal(kind: str, legs: Iterable[tuple[str, int]], *, asset: str = BTC) -> Journal | None:
    entries = tuple(Entry(account=account, units=units, asset=asset) for account, units in legs if units)
    return Journal(kind=kind, entries=entries) if entries else None


def _legs(books: Books) -> dict[str, tuple[tuple[str, int], ...]]:
    """The allocation journals that stand for `books`, by kind."""
    return {
        "settle": (
            ("customer:unallocated", books.used_sat),
            ("customer:prepayment", books.buffer_sat - books.used_sat),
            ("quote_buffer", -books.buffer_sat),
        ),
        "absorb": (("tolerance", books.absorbed_sat), ("customer:prepayment", -books.absorbed_sat)),
        "over": (("customer:unallocated", books.over_sat), ("customer:overpayment", -books.over_sat)),
        "refund_due": (("customer:unallocated", books.refundable_sat), ("refunds_payable", -books.refundable_sat)),
    }


def _unallocated(before: Books, after: Books) -> Iterator[Journal | None]:
    kept = _legs(after)
    for kind, legs in _legs(before).items():
        if legs != kept[kind]:
            yield _journal(f"{kind}_reverse", ((account, -units) for account, units in legs))


def _allocated(before: Books, after: Books) -> Iterator[Journal | None]:
    kept = _legs(before)
    for kind, legs in _legs(after).items():
        if legs != kept[kind]:
            yield _journal(kind, legs)


def _moved(before: Books, after: Books, wallet: str) -> Iterator[Journal | None]:
    """Money seen, confirmed, unconfirmed again or vanished. What leaves goes back through inflight, so each step has
    a name.
    """
    total = after.unconfirmed_sat + after.confirmed_sat - before.unconfirmed_sat - before.confirmed_sat
    captured = {a: after.beside.get(a, 0) - before.beside.get(a, 0) for a in sorted({*before.beside, *after.beside})}
    captured[wallet] = after.confirmed_sat - before.confirmed_sat - sum(captured.values())
    lost = {account: sat for account, sat in captured.items() if sat < 0}
    won = {account: sat for account, sat in captured.items() if sat > 0}
    yield _journal("capture_reverse", (*lost.items(), ("inflight:unconfirmed", -sum(lost.values()))))
    kind = "detect" if total > 0 else "detect_reverse"
    yield _journal(kind, (("inflight:unconfirmed", total), ("customer:unallocated", -total)))
    yield _journal("capture", (*won.items(), ("inflight:unconfirmed", -sum(won.values()))))
