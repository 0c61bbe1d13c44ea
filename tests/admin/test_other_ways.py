"""The desk of a shop whose payers may pay over another way: which one it was, by what it is known, and how its rail stands."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from bridge.invoices.observe import look
from bridge.invoices.offer_beside import offer_beside
from tests.admin.office import Office, build_office
from tests.builders import World, gateway_rail
from tests.rails.toy import ToyNode, toy_rail


@pytest.fixture
def node() -> ToyNode:
    return ToyNode()


@pytest.fixture
def office(sqlite_url: str, node: ToyNode) -> Iterator[Office]:
    made = build_office(sqlite_url, bridge={"rails": (gateway_rail(World().wallet), toy_rail(node))})
    with closing(made.bridge.store):
        yield made


@pytest.mark.parametrize(("lang", "way", "depth"), [("en", "Way", "Confirmations"), ("ru", "Способ", "Подтверждения")])
def test_an_invoice_shows_its_ways_and_a_payment_by_its_hash(
    office: Office, node: ToyNode, lang: str, way: str, depth: str
) -> None:
    invoice = office.site.open("1001")
    made = offer_beside(office.bridge, invoice["payment_url"].rpartition("/")[2], "lightning")
    page = office.see("vic", f"/invoices/{invoice['id']}?lang={lang}")
    assert f'<dt>Lightning</dt><dd><bdi class="mono txid">{made.key}</bdi>' in page
    node.pay(made.text, at=office.bridge.clock())
    look(office.bridge, invoice["id"])
    page = office.see("vic", f"/invoices/{invoice['id']}?lang={lang}")
    assert f'data-label="{way}">Lightning</td>' in page
    assert f'class="mono txid"><span>{made.key}</span></td>' in page and f"{made.key}:0" not in page
    assert f'data-label="{depth}" class="right">1</td>' in page


def test_the_day_says_how_the_other_way_stands_and_only_warns(office: Office, node: ToyNode) -> None:
    node.stands = replace(node.stands, inbound_sat=12_345)
    page = office.see("vic", "/health?part=1")
    assert "Another way to pay: toy" in page and "12345\u00a0sat can come in" in page
    office.world.clock.advance(31)
    node.is_silent = True
    page = office.see("vic", "/health?part=1")
    assert 'tone-attention">no</span> Another way to pay: toy' in page
