"""Ten thousand open invoices in simulated time with sixty calls a minute and every callback lost: when is money seen?

Owns the publication of the distribution; the crowd is the one of the tests.
"""

import logging

from bench.place import Bench
from bench.table import Report
from bridge.store.db import migrate
from tests.durability.crowd import gather

OPEN_INVOICES, SIMULATED_SECONDS = 10_000, 3_600


def measure(
    bench: Bench, report: Report, *, open_invoices: int = OPEN_INVOICES, seconds: int = SIMULATED_SECONDS
) -> None:
    url = f"sqlite:///{bench.directory / 'crowd.db'}"
    migrate(url)
    logging.disable(logging.WARNING)
    crowd = gather(url, open_invoices=open_invoices, calls_per_minute=60, seed=1)
    try:
        crowd.run(seconds, paid_per_minute=2)
    finally:
        crowd.bridge.store.close()
        logging.disable(logging.NOTSET)
    now = crowd.world.clock().timestamp()
    for age, seen in crowd.delays.items():
        delays = sorted(seen + [now - paid_at for paid_at, its_age in crowd.unseen.values() if its_age == age])
        if not delays:
            continue  # a short run may have none of this age
        at = {percent: delays[min(len(delays) - 1, len(delays) * percent // 100)] for percent in (50, 75, 90, 95, 99)}
        shown = " ".join(f"p{percent} {seconds:.0f}" for percent, seconds in at.items())
        report.note(f"polling: {age} invoices, {len(delays)} paid, seconds", at[50], shown)
        if age == "young":
            report.at_most("polling: young invoices, p95 seconds", at[95], 120)
    report.at_most("polling: most calls in any minute", crowd.most_calls_in_a_minute(), 60)
