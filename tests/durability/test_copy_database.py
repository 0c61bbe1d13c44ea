"""Growing from SQLite to PostgreSQL, and back: every row is the same and the bridge goes on where it was."""

import sqlite3
from pathlib import Path

import pytest

from tests.durability.shop import Shop, open_shop
from tests.durability.truth import faults_in


def other_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on the other engine."""
    if engine_name == "sqlite":
        cluster = request.getfixturevalue("postgresql_cluster")
        cluster.create_database(name := f"copy_{tmp_path.name[-20:]}".replace("-", "_").lower())
        request.addfinalizer(lambda: cluster.drop_database(name))
        return str(cluster.url(name))
    return f"sqlite:///{tmp_path / 'grown.db'}"


def live(shop: Shop, *payments: str) -> None:
    for payment in payments:
        shop.pay(shop.open(payment))
    shop.until(lambda: shop.count("SELECT count(*) FROM payments") >= len(payments), "the money is seen")
    shop.control("mine", blocks=1)
    shop.advance(6)
    for payment in payments:
        shop.until_set_paid(payment)
    shop.until_quiet()


def test_a_database_moves_to_the_other_engine_and_the_bridge_goes_on(
    zygote, tmp_path, database_url, engine_name, request
):
    target = other_url(engine_name, request, tmp_path)
    with open_shop(zygote, tmp_path, database_url) as shop:
        shop.start()
        live(shop, "1", "2")
        unpaid = shop.open("3")
        for program in list(shop.programs):
            program.stop()
        shop.programs.clear()

        copied = shop.command("copy-database", database_url, target)
        assert copied.exit_code == 0, copied.tail()
        assert "Every row is the same on both sides." in copied.tail()
        again = shop.command("copy-database", database_url, target)
        assert again.exit_code == 1
        assert "not_empty" in again.tail()

        shop.move_to(target)
        shop.start()
        assert shop.open("3")["address"] == unpaid["address"]
        live(shop, "3", "4")
        assert shop.receiver.paid() == {"1": 1, "2": 1, "3": 1, "4": 1}
        shop.kill_all()
        assert faults_in(shop.config(), shop.sandbox.world) == []


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_row_that_would_not_arrive_as_it_was_stops_the_copy(zygote, tmp_path, database_url, engine_name, request):
    target = other_url(engine_name, request, tmp_path)
    with open_shop(zygote, tmp_path, database_url) as shop:
        shop.start()
        live(shop, "1")
        shop.kill_all()
        with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
            # PostgreSQL cannot keep a zero byte in text: such a row must stop the copy, not be changed on the way.
            connection.execute("UPDATE invoices SET description = 'a' || char(0) || 'b'")
        connection.close()
        refused = shop.command("copy-database", database_url, target)
        assert refused.exit_code != 0
        shop.move_to(target)
        assert shop.count("SELECT count(*) FROM audit") == 0
