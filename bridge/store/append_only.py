"""The triggers that make the database itself refuse to change or remove history.

Owns their SQL for both engines; which tables they guard is said by `tables.APPEND_ONLY`.
"""

from collections.abc import Iterator

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""


def statements(dialect: str, tables: tuple[str, ...]) -> Iterator[str]:
    """The statements that guard `tables` against UPDATE and DELETE (and TRUNCATE where the engine has it)."""
    if dialect == "postgresql":
        yield _POSTGRESQL_FUNCTION
    for table in tables:
        if dialect == "postgresql":
            yield (
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
            continue
        for verb in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def frozen_statements(dialect: str, table: str, columns: tuple[str, ...]) -> Iterator[str]:
    """The statements that guard a table whose rows stay for ever and whose `columns` never change; its other columns may."""
    named = ", ".join(columns)
    if dialect == "postgresql":
        yield _POSTGRESQL_FUNCTION
        yield (
            f"CREATE TRIGGER {table}_frozen BEFORE UPDATE OF {named} OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        return
    for verb, event in (("update", f"UPDATE OF {named}"), ("delete", "DELETE")):
        yield (
            f"CREATE TRIGGER {table}_frozen_{verb} BEFORE {event} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
