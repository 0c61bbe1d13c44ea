"""Which settings reach one and the same account of a bridge: keys are replaced, addresses rewritten, the account stays.

Owns var/subtc/accounts, which leads from settings to their account, and what was kept under a former name; must not
judge a payment. An account is known by the first event of its feed, which no key, address or name changes.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from subtc import bridge, log, place, state
from subtc.invoice import Malformed, read_invoice
from subtc.settings import Settings
from subtc.state import Record

_ASKED_AGAIN_SECONDS = 3600
_PROOFS = 3


def of(source: str) -> str:
    """The account that the settings `source` reach; they stand for themselves while nobody knows better."""
    return str(state.read_json(_note(source)).get("account") or source)


def is_known(source: str) -> bool:
    return bool(state.read_json(_note(source)).get("account"))


def is_nobodys(source: str) -> bool:
    """Every bridge that is named now was asked about payments of these former settings, and knows none of them."""
    return bool(state.read_json(_note(source)).get("denied"))


def _note(source: str) -> Path:
    return place.state_dir() / "accounts" / f"{source}.json"


def resolve(known: Mapping[str, Settings]) -> dict[str, list[Settings]]:
    """Accounts with the settings that reach them. A bridge is asked until its feed has an event. Raises OSError."""
    found: dict[str, list[Settings]] = {}
    for source, settings in known.items():
        if not is_known(source):
            _ask(settings)
        found.setdefault(of(source), []).append(settings)
    return found


def _ask(settings: Settings) -> None:
    try:
        events = bridge.events(settings, after=0, limit=1).get("events")
    except (bridge.BridgeDown, bridge.BridgeRefused) as err:
        log.warning("accounts.not_told", source=settings.source, error=err)
        return
    first = events[0].get("id") if isinstance(events, list) and events and isinstance(events[0], dict) else None
    if isinstance(first, str) and first:
        _learn(settings.source, hashlib.sha256(first.encode()).hexdigest()[:16])


def _learn(source: str, account: str) -> None:
    """First the feed, then the note: a crash in between only does it again."""
    state.merge_feed(source, into=account)
    state.write_json(_note(source), {"account": account})
    log.info("accounts.known", source=source, account=account)


def adopt(reached: Mapping[str, Settings], records: Sequence[Record] = ()) -> None:
    """Find the accounts of former settings, whose keys nobody has any more: an invoice of theirs is the proof.

    Looks at open payments, at feeds and at `records`. Raises OSError.
    """
    for source, proofs in _former(reached, records).items():
        asked_at = state.read_json(_note(source)).get("asked_at")
        if not isinstance(asked_at, int) or not 0 <= time.time() - asked_at < _ASKED_AGAIN_SECONDS:
            _adopt_one(source, proofs[:_PROOFS], reached)


def _adopt_one(source: str, proofs: list[tuple[str, str]], reached: Mapping[str, Settings]) -> None:
    silent = not reached
    for account, settings in reached.items():
        for invoice_id, elid in proofs:
            try:
                if read_invoice(bridge.get_invoice(settings, invoice_id)).elid == elid:
                    _learn(source, account)
                    return
            except bridge.BridgeRefused as err:
                silent |= err.status != 404
            except (bridge.BridgeDown, Malformed):
                silent = True
    if not silent:
        log.warning("accounts.former_settings_are_nobodys", source=source)
        state.write_json(_note(source), {"asked_at": int(time.time()), "denied": True})


def _former(reached: Mapping[str, Settings], records: Sequence[Record]) -> dict[str, list[tuple[str, str]]]:
    """Sources that no account is known for, with invoices and payments that prove where they belong."""
    found: dict[str, list[tuple[str, str]]] = {}
    for record in (*filter(None, map(state.load_record, state.open_elids())), *records):
        if of(record.source) not in reached:
            found.setdefault(record.source, []).append((record.invoice, record.elid))
    left = [source for source in state.feed_names() if of(source) not in reached]
    for source in left:
        found.setdefault(source, []).extend(_named_in(state.load_feed(source)))
    bare = {source for source in left if not found[source]}
    # Only then, because it reads every record there is.
    for record in state.records() if bare else ():
        if record.source in bare and len(found[record.source]) < _PROOFS:
            found[record.source].append((record.invoice, record.elid))
    return found


def _named_in(feed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kept in (*feed["retry"], *feed["parked"]):
        about = kept.get("invoice") if isinstance(kept, dict) else None
        if isinstance(about, dict):
            yield str(about.get("id")), str(about.get("billing_payment_id"))
        elif isinstance(kept, dict) and isinstance(about, str):
            yield about, str(kept.get("elid"))
