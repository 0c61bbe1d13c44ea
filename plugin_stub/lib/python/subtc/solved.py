"""What an administrator says when a person has dealt with cases that the module cannot see the end of.

Owns taking them off the list of `check`; must not change a payment, nor hide an event that has yet to be tried.
"""

from __future__ import annotations

from subtc import log, payment, place, state


def solved(elid: str) -> str:
    """Take the cases of one payment off the list, all of them without `elid`, and say how many those were."""
    if elid and not payment.ELID.fullmatch(elid):
        return f"{elid} is no payment's number: name it like --payment 7, or none for every case"
    try:
        with state.checkpay_lock(wait_seconds=place.switches().lock_wait_seconds):
            count = sum(_take_off(account, elid) for account in state.feed_names())
    except state.Busy:
        return "checkpay is at work: try again in a minute"
    except OSError as err:
        return f"the list cannot be written: {err.strerror}"
    return f"{count} cases are solved"


def _take_off(account: str, elid: str) -> int:
    feed = state.load_feed(account)
    done = [case for case in feed["parked"] if not elid or str(case.get("elid")) == elid]
    for case in done:
        log.warning("solved", elid=case.get("elid"), invoice=case.get("invoice"), reason=case.get("reason"))
    if done:
        state.save_feed(account, {**feed, "parked": [case for case in feed["parked"] if case not in done]})
    return len(done)
