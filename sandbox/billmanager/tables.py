"""Owns a read-only SQL view of the records for modules that select from tables. It must not let a query write."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from sandbox.billmanager import documents
from sandbox.billmanager.core import Call, Core, Element
from sandbox.billmanager.errors import CoreError
from sandbox.billmanager.info import money

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
        element = documents.child(document, "elem")
        for name, value in zip(names, row, strict=True):
            kind = {int: {"type": "int"}, type(None): {"type": "null"}}.get(type(value), {})
            documents.child(element, name, "" if value is None else str(value), **kind)
    return document


def _snapshot(core: Core) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    with core.world.lock:
        for table, (columns, rows) in _tables(core).items():
            _fill(database, table, columns, rows)
    return database


def _tables(core: Core) -> dict[str, tuple[str, Sequence[tuple[object, ...]]]]:
    world = core.world
    payments = [
        (*(getattr(p, name) for name in _PAYMENT.split()), money(p.due), p.billorder or None)
        for p in world.payments.values()
    ]
    return {
        "payment": (
            "id INTEGER, status INTEGER, paymethod INTEGER, externalid TEXT, number TEXT, createdate TEXT,"
            " randomnumber TEXT, subaccount INTEGER, currency INTEGER, info TEXT, paymethodamount TEXT, billorder INTEGER",
            payments,
        ),
        "paymethod": (
            "id INTEGER, module TEXT, xmlparams TEXT, currency INTEGER, name TEXT",
            [(m.id, m.module, m.xmlparams, m.currency, m.name) for m in world.paymethods.values()],
        ),
        "currency": ("id INTEGER, iso TEXT, code TEXT", [(c.id, c.iso, c.code) for c in world.currencies.values()]),
        "history_payment": (
            "id INTEGER, reference INTEGER, status INTEGER, status_new INTEGER, changedate TEXT",
            [(h.id, h.reference, h.status, h.status_new, h.changedate) for h in world.history.values()],
        ),
        "user": (
            "id INTEGER, name TEXT, realname TEXT, email TEXT, phone TEXT, language TEXT, account INTEGER, level INTEGER",
            [(u.id, u.name, u.realname, u.email, "", u.lang, u.account, u.level) for u in world.users.values()],
        ),
        "account": (
            "id INTEGER, name TEXT, country INTEGER, registration_date TEXT",
            [(a.id, world.users[a.user].realname, 182, "2024-01-01") for a in world.accounts.values()],
        ),
        "country": ("id INTEGER, iso2 TEXT", [(182, "RU")]),
    }


def _fill(database: sqlite3.Connection, table: str, columns: str, rows: Sequence[tuple[object, ...]]) -> None:
    database.execute(f"CREATE TABLE {table} ({columns})")
    marks = ",".join("?" * (columns.count(",") + 1))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
