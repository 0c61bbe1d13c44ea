"""Alembic's migrations, forward only. Each is frozen once released; the tables of today are in `bridge.store.tables`."""
