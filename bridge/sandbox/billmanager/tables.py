"""Owns a read-only SQL view of the records for modules that select from tables. It must not let a query write."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from bridge.sandbox.billmanager import documents
from bridge.sandbox.billmanager.core import Call, Core, Element
from bridge.sandbox.billmanager.errors import CoreError
from bridge.sandbox.billmanager.info import money

_NOW = re.compile(r"\b(?:NOW|CURRENT_TIMESTAMP)\(\)", re.IGNORECASE)
_PAYMENT = "id status paymethod externalid number createdate randomnumber account currency info"


def select(core: Core, call: Call) -> Element:
    """`sandbox.select query= count= p0= …` (the sandbox's own): the rows of a SELECT. Raises `value` when it is bad."""
    marks = [call.params.get(f"p{number}", "") for number in range(int(call.params.get("count") or 0))]
    query = _NOW.sub(f"'{core.clock.stamp()}'", call.need("query").replace("%s", "?"))
    database = _snapshot(core)
    try:
        database.execute("PRAGMA query_only = ON")
        cursor = database.execute(query, marks)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall()
    except sqlite3.Error as error:
        raise CoreError("value", "query", str(error)) from None
    finally:
        database.close()
    document = ET.Element("doc")
    for row in rows:
        texts = {name: "" if value is None else str(value) for name, value in zip(names, row, strict=True)}
        documents.children(documents.child(document, "elem"), texts)
    return document


def _snapshot(core: Core) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    world = core.world
    with world.lock:
        payments = [
            (*(getattr(p, name) for name in _PAYMENT.split()), money(p.due), p.billorder or None)
            for p in world.payments.values()
        ]
        methods = [(m.id, m.module, m.xmlparams, m.currency, m.name) for m in world.paymethods.values()]
        currencies = [(c.id, c.iso, c.code) for c in world.currencies.values()]
        history = [(h.id, h.reference, h.status, h.status_new, h.changedate) for h in world.history.values()]
    _fill(
        database,
        "payment",
        "id INTEGER, status INTEGER, paymethod INTEGER, externalid TEXT, number TEXT, createdate TEXT,"
        " randomnumber TEXT, subaccount INTEGER, currency INTEGER, info TEXT, paymethodamount TEXT, billorder INTEGER",
        payments,
    )
    _fill(database, "paymethod", "id INTEGER, module TEXT, xmlparams TEXT, currency INTEGER, name TEXT", methods)
    _fill(database, "currency", "id INTEGER, iso TEXT, code TEXT", currencies)
    _fill(database, "history_payment", "id, reference INTEGER, status INTEGER, status_new INTEGER, changedate", history)
    return database


def _fill(database: sqlite3.Connection, table: str, columns: str, rows: Sequence[tuple[object, ...]]) -> None:
    database.execute(f"CREATE TABLE {table} ({columns})")
    marks = ",".join("?" * (columns.count(",") + 1))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
