"""A second way to pay over HTTP: asked for by a form or by the page's script, and what both are told."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.builders import World, gateway_rail
from tests.rails.toy import ToyNode, toy_rail
from tests.web.conftest import Site, build_site

JSON = {"Accept": "application/json"}


@pytest.fixture
def node() -> ToyNode:
    return ToyNode()


@pytest.fixture
def shop(sqlite_url: str, node: ToyNode) -> Iterator[Site]:
    world = World()
    built = build_site(sqlite_url, world, bridge={"rails": (gateway_rail(world.wallet), toy_rail(node))})
    with closing(built.bridge.store):
        yield built


def test_a_form_leads_back_to_the_page_with_the_way(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    answer = shop.page(invoice, "/way?lang=ru", method="POST", data={"way": "lightning"})
    path = invoice["payment_url"].removeprefix(shop.bridge.public_url)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{path}?way=lightning&lang=ru")
    assert len(node.made) == 1
    assert shop.page(invoice).status_code == 200


def test_a_script_is_told_the_way_itself(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    before = shop.page(invoice, "/status")
    assert [(each["way"], each["state"]) for each in before.json["ways"]] == [
        ("bitcoin", "offered"),
        ("lightning", "possible"),
    ]
    told = shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON)
    (text,) = node.made
    assert (told.status_code, told.json["text"], told.json["uri"]) == (200, text, f"lightning:{text}")
    assert told.json["expires_at"] == invoice["quote"]["expires_at"]
    after = shop.page(invoice, "/status", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json["ways"][1]) == (200, told.json)


def test_a_way_that_cannot_be_had_is_said_and_the_first_stays(shop: Site, node: ToyNode) -> None:
    invoice = shop.open()
    node.is_silent = True
    answer = shop.page(invoice, "/way", method="POST", data={"way": "lightning"})
    path = invoice["payment_url"].removeprefix(shop.bridge.public_url)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{path}?way=lightning&refused=way_not_offered")
    told = shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON)
    assert (told.status_code, told.mimetype, told.json["code"]) == (422, "application/problem+json", "way_not_offered")
    ways = shop.page(invoice, "/status").json["ways"]
    assert [(each["way"], each["state"], each["code"]) for each in ways] == [
        ("bitcoin", "offered", ""),
        ("lightning", "refused", "rail_unwell"),
    ]
    assert invoice["address"] in shop.page(invoice).text


@pytest.mark.parametrize("way", ["", "pigeon", "x" * 5_000, "bitcoin"])
def test_a_way_that_there_is_not_is_refused_with_its_field(shop: Site, way: str) -> None:
    told = shop.page(shop.open(), "/way", method="POST", data={"way": way}, headers=JSON)
    assert (told.status_code, told.json["code"], told.json["field"]) == (422, "unknown_way", "way")


def test_an_invoice_that_is_not_there_is_not_found(shop: Site) -> None:
    invoice = {"payment_url": f"{shop.bridge.public_url}/pay/{'x' * 22}"}
    assert shop.page(invoice, "/way", method="POST", data={"way": "lightning"}).status_code == 404
    told = shop.page(invoice, "/way", method="POST", data={"way": "lightning"}, headers=JSON)
    assert told.json["code"] == "unknown_invoice"


def test_the_answer_reloaded_as_a_link_does_nothing(shop: Site, node: ToyNode) -> None:
    assert shop.page(shop.open(), "/way").status_code == 303
    assert node.made == {}
