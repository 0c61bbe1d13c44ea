"""Key rotations as an operator does them: nothing is lost in between, and the old key opens nothing at the end.

Owns the drills for each key; that running programs take a new one without a restart is in test_reload.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from click.testing import CliRunner

from bridge.cli.group import main
from bridge.core.errors import BridgeError
from bridge.desk.evidence import public_key, receipt
from bridge.payouts.sweep import propose_sweep
from bridge.permit import set_mode
from bridge.receipts import DocumentSigner, verify
from bridge.runtime import build
from bridge.upkeep.doctor import PASS, WARN, Place, examine
from bridge.wsgi import application
from sandbox.bitcoin import serve_in_thread
from tests.books.runs import codes, paid, reconcile
from tests.durability.receiver import Receiver
from tests.flows.moving import NEW_KEY, moved, old_account, restarted
from tests.flows.world import KEY, WALLET, World, open_world, settings_for
from tests.payouts.desk import COLD, FLOAT_SAT, hired, settings

OLD = "whsec_" + b64encode(b"the old secret of the shop").decode()
NEW = "whsec_" + b64encode(b"the new secret of the shop").decode()


@contextmanager
def receivers() -> Iterator[dict[str, Receiver]]:
    """The module before and after its own setting was changed: one knows the old secret only, one the new."""
    made = {"old": Receiver(OLD), "new": Receiver(NEW)}
    try:
        yield made
    finally:
        for receiver in made.values():
            receiver.close()


def deliver_test_event(world: World, secrets: list[str], receiver: Receiver) -> str:
    """How the receiver's answer was taken when the bridge signs with `secrets`."""
    settings = settings_for(
        world.sandbox.url,
        str(world.bridge.store.engine.url),
        shop={"notify_url": receiver.url, "notify_secrets": secrets},
    )
    bridge = build(settings)
    with closing(bridge):
        body = b'{"id":"evt_rotation","type":"test"}'
        return bridge.billing.notify("shop", event_id="evt_rotation", body=body, now=bridge.clock()).outcome


def test_a_notify_secret_rotates_without_a_refused_event(database_url):
    with open_world(database_url) as world, receivers() as module:
        # 1. The bridge signs with both; 2. the module's setting changes; 3. the bridge drops the old one.
        assert deliver_test_event(world, [OLD], module["old"]) == "delivered"
        assert deliver_test_event(world, [NEW, OLD], module["old"]) == "delivered"
        assert deliver_test_event(world, [NEW, OLD], module["new"]) == "delivered"
        assert deliver_test_event(world, [NEW], module["new"]) == "delivered"
        # Afterwards the old secret opens nothing, and an event signed with it alone is parked for a person.
        assert deliver_test_event(world, [NEW], module["old"]) == "parked"
        assert deliver_test_event(world, [OLD], module["new"]) == "parked"


def test_an_api_key_rotates_without_a_refused_call(database_url):
    old, new = "the-old-key-of-the-shop-0123456789", "the-new-key-of-the-shop-0123456789"

    def told(keys: list[str]) -> tuple[int, int]:
        """What the holder of the old key and that of the new are answered after a reload with `keys`."""
        app = application(settings_for("http://127.0.0.1:9", database_url, shop={"api_keys": keys}))
        with closing(app.extensions["bridge"].bridge.store):
            calls = [{"Authorization": f"Bearer {key}"} for key in (old, new)]
            first, second = (app.test_client().get("/v1/events", headers=headers).status_code for headers in calls)
            return first, second

    assert [told(keys) for keys in ([old], [old, new], [new])] == [(200, 401), (200, 200), (401, 200)]


def test_the_receipt_key_rotates_and_receipts_of_its_time_are_still_good(database_url, tmp_path):
    for name in ("old", "new"):
        assert CliRunner().invoke(main, ["new-receipt-key", str(tmp_path / name)]).exit_code == 0
    keys = {"receipt_key": (tmp_path / "old").read_text()}
    with open_world(database_url, **keys) as world:
        public_id = paid(world)["payment_url"].rpartition("/")[2]
        of_its_time = receipt(world.bridge, public_id)
        keys = {"receipt_key": (tmp_path / "new").read_text()}
        keys |= {"receipt_keys_former": [(tmp_path / "old.pub").read_text()]}
        rotated = build(settings_for(world.sandbox.url, database_url, **keys))
        with closing(rotated.store):
            today, published = receipt(rotated, public_id), public_key(rotated)
    assert today["signature"]["key_id"] == published["key_id"] != of_its_time["signature"]["key_id"]
    verify(today, published["public_key"])
    # Whoever kept an old receipt finds its key beside the new one, by the name that the receipt gives it.
    by_name = {each["key_id"]: each["public_key"] for each in published["former"]}
    verify(of_its_time, by_name[of_its_time["signature"]["key_id"]])
    with pytest.raises(BridgeError):
        verify(of_its_time, published["public_key"])
    with pytest.raises(BridgeError):
        verify(of_its_time | {"received_sat": 1}, by_name[of_its_time["signature"]["key_id"]])


def test_the_command_finds_the_key_of_an_old_receipt_in_the_configuration(place):
    for name in ("old.pem", "new.pem"):
        assert place.run("new-receipt-key", str(place.directory / name)).exit_code == 0
    document = DocumentSigner((place.directory / "old.pem").read_text()).sign({"kind": "payment_receipt"})
    (place.directory / "receipt.json").write_text(json.dumps(document))
    configured = place.config.read_text() + f"receipt_key: ${{file:{place.directory}/new.pem}}\n"
    place.config.write_text(configured)
    assert place.run("verify-receipt", str(place.directory / "receipt.json")).exit_code == 1
    place.config.write_text(f"{configured}receipt_keys_former: ['${{file:{place.directory}/old.pem.pub}}']\n")
    assert "The signature is good" in place.run("verify-receipt", str(place.directory / "receipt.json")).output


def test_the_gateways_key_rotates_by_a_new_key_and_wallet_while_invoices_are_open(database_url):
    """A gateway's key opens only its own wallets, so rotating it is moving; nobody waits for the open invoices to end."""
    with open_world(database_url, **settings()) as world:
        desk = hired(world)
        refunded, open_one = desk.settled("7"), world.open("8")
        waiting = desk.approved(refunded, "custom", net_sat=50_000)
        # 1. New key, new wallet, the old wallet among the former ones; 2. reload; 3. a float into the new wallet.
        desk.world = world = moved(world, **settings())
        desk.fund(FLOAT_SAT)
        assert items(world)["wallet_missing"] == PASS
        later = world.open("9")
        for invoice in (open_one, later):
            world.pay(invoice)
        world.mine(6)
        # What is open is read with the old key to its end, what was approved leaves the new wallet.
        assert [world.seen(each)[0] for each in (open_one, later)] == ["settled", "settled"]
        desk.send()
        assert (desk.now(waiting)["state"], world.reviews()) == ("sent", [])
        assert codes(reconcile(world.bridge, actor="fay")) == []
        # 4. When the last invoice is over the doctor says so; 5. what lies there is swept by turning the two around.
        world.advance(9 * 86_400)
        assert items(world)[f"former_wallet:{WALLET}"] == WARN
        new = {"wallet_id": world.bridge.wallet_id, "key": NEW_KEY}
        desk.world = restarted(world, subtc=old_account(world), former_wallets=[new], **settings())
        switched(desk.world, "limited")
        old_sat = desk.gateway_sat()
        assert old_sat == refunded["received_sat"] + open_one["remaining_sat"]
        desk.approve(propose_sweep(desk.world.bridge, actor="fay", reason="the old wallet ends", key="sweep"))
        desk.send()
        desk.confirm()
        assert (desk.gateway_sat(), len(desk.arrived(COLD))) == (0, 1)
        # 6. Back, and the old key is in no setting any more.
        desk.world = world = restarted(world, subtc=new, **settings())
        switched(world, "normal")
        assert items(world)["wallet_missing"] == PASS
        assert codes(reconcile(world.bridge, actor="fay")) == []
        assert world.open("10")["status"] == "new"


def switched(world: World, mode: str) -> None:
    set_mode(world.bridge, scope="bridge", mode=mode, actor="root", reason="the old wallet ends")


def items(world: World) -> dict[str, str]:
    return {each.name: each.state for each in examine(world.bridge, Place())}


def test_a_revoked_key_gives_nothing_and_loses_nothing(sqlite_url):
    with open_world(sqlite_url) as world:
        invoice = world.open()
        world.pay(invoice)
        revoked = restarted(world, subtc={"key": "SUBTC-KEY-" + "d" * 48})
        # The gateway refuses us; the chain reader goes on and the money is seen.
        assert revoked.seen(invoice)[0] == "processing"
        with pytest.raises(BridgeError):
            revoked.open("other")
        # Money that waits for a word which the gateway refuses to give is a person's question, not a silence.
        revoked.mine()
        revoked.advance(700)
        revoked.seen(invoice)
        assert revoked.reviews() == ["wallet_unread"]


def test_no_key_is_shared_between_two_gateways_accounts():
    served = serve_in_thread(net="test", api_key=KEY, wallet_id=WALLET)
    try:
        from bridge.rails.subtc.client import SubtcWallet

        other = SubtcWallet(base_url=served.url, network="test").create_key()
        stranger = SubtcWallet(base_url=served.url, key=other, network="test", wallet_id=WALLET)
        with pytest.raises(BridgeError):
            stranger.balance()
    finally:
        served.stop()
