"""What a log line never holds, whatever was raised."""

import logging
import sys

import pytest
from sqlalchemy import insert

from bridge.logs import JsonLines
from bridge.rails import lnbits, subtc
from bridge.store.db import Duplicate, Store
from bridge.store.tables import modes
from tests.store.test_db import NOW

EMAIL = "ivan\nDETAIL: @example.org"


def line_of_the_error_at_hand() -> str:
    record = logging.LogRecord("bridge", logging.ERROR, __file__, 1, "job.failed", None, sys.exc_info())
    return JsonLines().format(record)


def test_an_error_of_the_database_does_not_repeat_the_row(store: Store) -> None:
    row = {"scope": EMAIL, "mode": "normal", "since": NOW, "actor": "ann", "reason": "why"}
    with pytest.raises(Duplicate), store.write() as tx:
        tx.execute(insert(modes).values(**row))
        try:
            tx.execute(insert(modes).values(**row))
        except Duplicate:
            line = line_of_the_error_at_hand()
            raise
    assert "ivan" not in line and "example.org" not in line
    assert "INSERT INTO modes" in line and "test_logs.py" in line


@pytest.mark.parametrize("callbacks", [subtc.CALLBACKS, lnbits.CALLBACKS, "callbacks/voucher"])
def test_a_line_that_repeats_a_callback_address_does_not_hold_its_token(callbacks: str) -> None:
    token = "Very-secret_7"
    try:
        raise ValueError(f"no such place: https://pay.example/{callbacks}/{token}")
    except ValueError:
        line = line_of_the_error_at_hand()
    assert f"{callbacks}/[redacted]" in line and token not in line and "secret" not in line
