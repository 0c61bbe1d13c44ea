"""A wallet that only the shop can spend from, known here by its descriptor: payers pay to its addresses, nothing is asked or sent.

Owns its place among the rails; addresses are `core.descriptors`', what came there the chain reader's to say.
"""

from bridge.config import Settings
from bridge.core.rail import CHAIN, Rail


def rails(settings: Settings) -> tuple[Rail, ...]:
    """The one that the settings name, or none."""
    wanted = settings.own_wallet
    if wanted is None:
        return ()
    source = wanted.source(network=settings.network)
    return (
        Rail(
            name="own_wallet",
            wallet_id=source.wallet_id,
            role="cold",
            witness=CHAIN,
            derives=source,
            calls_per_minute=wanted.looks_per_minute,
        ),
    )
