"""The machine codes that say why an invoice stands where it stands, and which review kinds hold it.

Owns the lists that pages, runbooks and tests enumerate; must not hold a sentence: texts live in the language
catalogues.
"""

REASONS = frozenset(
    {
        "awaiting_payment",
        "quote_lapsed",
        "partial",
        "seen",
        "confirming",
        "settled",
        "overpaid",
        "paid_late",
        "marked_settled",
        "expired",
        "closed",
        "late_checking",
        "replaced",
        "reorged",
        "failed_to_confirm",
        "marked_invalid",
        "refund_due",
        "price_unavailable",
        "large_amount",
        "provider_only_limit",
        "provider_disagrees",
        "billing_conflict",
        "billing_cancelled",
        "suspicious_address",
        "wrong_network",
        "address_crowded",
        "wallet_unread",
        "late",
        "screening",
        "evidence_missing",
    }
)

# Review kinds that stop every automatic call and payout of their invoice until a person has ruled.
HOLDING = frozenset(
    {
        "large_amount",
        "provider_only_limit",
        "provider_disagrees",
        "billing_conflict",
        "suspicious_address",
        "wrong_network",
        "address_crowded",
        "wallet_unread",
        "late",
        "partial",
        "failed_to_confirm",
        "reorged",
        "screening",
    }
)

# Review kinds that only want to be seen: the invoice goes on.
NOTING = frozenset(
    {
        "over",
        "replaced",
        "delivery_dead",
        "claim",
        "outcome_unknown",
        "recon_diff",
        "bad_signature",
        "evidence_missing",
    }
)

REVIEW_KINDS = HOLDING | NOTING

# The one question that answers itself, when its wallet is read again; such an answer lets nothing pass.
WALLET_UNREAD = "wallet_unread"
WITHDRAWN = "withdrawn"
