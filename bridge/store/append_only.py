"""The triggers that make the database itself refuse to change or remove history, and note what was posted to it.

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


def queueing_statements(dialect: str) -> Iterator[str]:
    """The statements that put each new journal into `unsummed_journals`: whoever posts one, no sum misses it."""
    if dialect == "postgresql":
        yield (
            "CREATE OR REPLACE FUNCTION queue_for_sums() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN INSERT INTO unsummed_journals (journal_id) SELECT id FROM posted; RETURN NULL; END $$"
        )
        yield (
            "CREATE TRIGGER journals_unsummed AFTER INSERT ON journals REFERENCING NEW TABLE AS posted "
            "FOR EACH STATEMENT EXECUTE FUNCTION queue_for_sums()"
        )
        return
    yield (
        "CREATE TRIGGER journals_unsummed AFTER INSERT ON journals "
        "BEGIN INSERT INTO unsummed_journals (journal_id) VALUES (NEW.id); END"
    )
