"""The yardsticks as a WSGI application: a bare route, and the reference route that validates a small JSON and commits one row.

Owns routes that do nothing else; same Flask, same pydantic, same Store, same server settings as the bridge.
"""

import secrets
from typing import Any

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, insert

from bridge.store.db import Store

metadata = MetaData()
orders = Table(
    "bench_orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, nullable=False, unique=True),
    Column("total_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_bench_orders_created_at", "created_at"),
)
_INSERT = insert(orders)


class Order(BaseModel):
    """The small JSON: the same members that opening an invoice needs at least."""

    billing_payment_id: str
    amount: str
    currency: str


def reference_app(store: Store) -> Flask:
    app = Flask("yardstick")

    @app.get("/bare")
    def bare() -> Response:
        return jsonify(ok=True)

    @app.post("/reference")
    def reference() -> Any:
        order = Order.model_validate_json(request.get_data())
        row = {"id": secrets.token_hex(12), "order_id": order.billing_payment_id, "total_minor": 1_000}
        row |= {"currency": order.currency, "note": "", "created_at": 1}
        with store.write() as tx:
            tx.execute(_INSERT, row)
        return jsonify(id=row["id"]), 201

    return app
