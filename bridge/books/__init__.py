"""Accounts: reconciliation, exports, reports, seals, and what may be purged."""
