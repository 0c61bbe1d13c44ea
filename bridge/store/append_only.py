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


def packable_statements(
    dialect: str, table: str, *, emptied: tuple[str, ...], others: tuple[str, ...]
) -> Iterator[str]:
    """The same for a table of `statements` whose `emptied` columns, or with none its whole rows, may go into an archive and come
    back: in the transaction that moves them, while the row of the archive is open. Its `others` never change.

    In a file a row is emptied by removing it and adding what is left: an emptied page would not be used again. But none of the
    ledger: what is added there is summed.
    """
    its = "OLD.invoice_id" if emptied else "(SELECT invoice_id FROM deliveries WHERE id = OLD.delivery_id)"
    is_open = f"EXISTS (SELECT 1 FROM archives WHERE invoice_id = {its} AND is_open)"
    changed, named = ", ".join(emptied), ", ".join(others)
    if dialect == "postgresql":
        yield f"DROP TRIGGER {table}_append_only ON {table}"
        never = f"UPDATE OF {named} OR DELETE OR TRUNCATE" if emptied else "UPDATE OR TRUNCATE"
        yield (
            f"CREATE TRIGGER {table}_append_only BEFORE {never} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        yield (
            f"CREATE FUNCTION refuse_change_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NOT {is_open} THEN RAISE EXCEPTION '{table} is append-only'; END IF; "
            f"RETURN {'NEW' if emptied else 'OLD'}; END $$"
        )
        yield (
            f"CREATE TRIGGER {table}_packed BEFORE {f'UPDATE OF {changed}' if emptied else 'DELETE'} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_change_of_{table}()"
        )
        return
    verbs = [("delete", "DELETE")] if table != "journals" else []
    for verb, event in [*verbs, *([("update", f"UPDATE OF {changed}")] if emptied else [])]:
        yield f"DROP TRIGGER {table}_no_{verb}"
        yield (
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {event} ON {table} WHEN NOT {is_open} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
    if emptied:
        yield (
            f"CREATE TRIGGER {table}_frozen_update BEFORE UPDATE OF {named} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def archive_statements(dialect: str, table: str, columns: tuple[str, ...]) -> Iterator[str]:
    """The statements that guard the archive's own rows: they never change but for being opened, and go while they are open."""
    named = ", ".join(columns)
    if dialect == "postgresql":
        yield (
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OF {named} OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        yield (
            f"CREATE TRIGGER {table}_closed BEFORE DELETE ON {table} FOR EACH ROW WHEN (NOT OLD.is_open) "
            "EXECUTE FUNCTION refuse_change()"
        )
        return
    for verb, event in (("update", f"UPDATE OF {named}"), ("delete", "DELETE")):
        when = "" if verb == "update" else "WHEN NOT OLD.is_open "
        yield (
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {event} ON {table} {when}"
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
