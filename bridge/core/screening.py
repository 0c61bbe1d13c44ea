"""Who pays, as a screening sees them, and what it says of them.

Owns the values and the matching against a list; must not read a file or run a program, `bridge.screening` does.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

VERDICTS = ("clear", "hit", "pending")
LISTED_KINDS = ("address", "country", "customer")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One invoice with money on its way. `addresses` are where the money came from, as far as the chain reader knows."""

    invoice_id: str
    merchant: str
    billing_payment_id: str
    customer_id: str
    country: str
    addresses: tuple[str, ...]
    outpoints: tuple[str, ...]
    received_sat: int

    def text(self) -> str:
        """The same subject is always the same text: what is kept, hashed and handed to a command."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Screened:
    """`verdict` is one of VERDICTS; pending when the screening could not say. `matched` names the entry that hit."""

    verdict: str
    matched: str = ""
    detail: str = ""


def matched_entry(subject: Subject, listed: Mapping[str, frozenset[str]]) -> str | None:
    """The first listed thing the subject has, as "kind value"; values are compared without case."""
    has = {"address": subject.addresses, "country": (subject.country,), "customer": (subject.customer_id,)}
    for kind in LISTED_KINDS:
        for value in has[kind]:
            if value and value.lower() in listed.get(kind, frozenset()):
                return f"{kind} {value}"
    return None


def worst(answers: tuple[Screened, ...]) -> Screened:
    """A hit of any screening counts, then one that could not say; clear only when all are."""
    return min(answers, key=lambda a: ("hit", "pending", "clear").index(a.verdict), default=Screened(verdict="clear"))
