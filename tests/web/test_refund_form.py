"""The form for the address of a refund, as a payer without a script uses it."""

import html
import re
from itertools import product
from urllib.parse import urlsplit

import pytest
from btclib import b32
from btclib.b58 import prv_key_data_from_wif
from btclib.ecc import bms
from btclib.script import serialize
from btclib.script.script_pub_key import ScriptPubKey
from btclib.script.sig_hash import ALL, from_tx
from btclib.script.taproot import output_pubkey
from btclib_wallet import bip322
from ecc.ecc import dsa

from bridge.core.payout import STATES
from bridge.language import Languages
from bridge.payouts.decide_payout import reject_payout, show_payout
from bridge.payouts.refunds import NewRefund, request_refund
from bridge.store import dossier, operators
from tests.web.test_pay_page import Page

OWN = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
TAPROOT = "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c"
# The private key 7 and its addresses.
KEY = prv_key_data_from_wif("cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87MbvFSpLf")
LEGACY, NESTED = "mp5cELDJZ2pUNYrF1i5dCyT34j48UzaKRU", "2N34MozbZgun3wHRya6RbMcia91trTTC9xY"
SEGWIT = "tb1qthklh702txwafc72d2qtxv7ywt7sk0mfwhqaph"
KEYS_TAPROOT = b32.p2tr(output_pubkey(KEY.pub)[0], "testnet")
TEXTS = Languages().all


class Form:
    """The form of one refund, by the link that the shop was given."""

    def __init__(self, site):
        self.site, self.invoice = site, site.open(amount="100.00")
        site.pay(self.invoice, self.invoice["quote"]["due_sat"], confirmations=6)
        request = NewRefund(invoice_id=self.invoice["id"], variant="paid_sat")
        asked = request_refund(
            site.bridge, merchant_id="shop", request=request, key="r1", actor="module:shop", reason="cancelled order"
        )
        self.payout, link = asked.payout["id"], urlsplit(asked.form_url)
        self.path, self.proof = link.path, link.query.removeprefix("proof=")

    def open(self, **query):
        return self.site.app.test_client().get(self.path, query_string={"proof": self.proof} | query)

    def send(self, address, *, query="", **sent):
        filled = {"proof": self.proof, "address": address} | sent
        return self.site.app.test_client().post(self.path + query, data=filled)

    def state(self):
        return Page(self.open().text).found("section", id="refund-state")[0]["data-state"]

    def stored(self):
        return show_payout(self.site.bridge, self.payout)


@pytest.fixture
def form(lite_site):
    return Form(lite_site)


def test_the_payer_names_the_address_and_sees_it_in_groups(form):
    page = Page(form.open().text)
    assert "Where should your money go?" in page.text and form.state() == "address_wanted"
    answer = form.send(f"  {OWN[:21].upper()} {OWN[21:].upper()}\r\n")
    assert answer.status_code == 303 and answer.headers["Location"].startswith(form.path)
    page = Page(form.open().text)
    assert form.state() == "address_known" and page.found("p", id="address")[0]["data-address"] == OWN
    assert (form.stored()["destination"], form.stored()["destination_set_by"]) == (OWN, "payer")


@pytest.mark.parametrize("lang", TEXTS)
def test_under_an_unknown_fee_the_payer_reads_that_less_arrives(lite_site, lang):
    lite_site.world.wallet.fee_bps = None
    form = Form(lite_site)
    assert TEXTS[lang]("refund.unknown_fee") in Page(form.open(lang=lang).text).text


@pytest.mark.parametrize("address", [TAPROOT, LEGACY, NESTED])
def test_every_kind_of_address_is_taken(form, address):
    assert form.send(address).status_code == 303
    assert form.stored()["destination"] == address


@pytest.mark.parametrize("lang", TEXTS)
@pytest.mark.parametrize(
    ("address", "code"),
    [
        (OWN[:-1] + "q", "bad_address"),
        ("", "bad_address"),
        ("<script>alert(1)</script>", "bad_address"),
        ("a" * 5_000, "bad_address"),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "wrong_network"),
        ("OWN INVOICE", "own_address"),
    ],
)
def test_a_wrong_address_is_told_in_words_beside_the_field(form, lang, address, code):
    answer = form.send(address.replace("OWN INVOICE", form.invoice["address"]), query=f"?lang={lang}")
    page = Page(answer.text)
    assert answer.status_code == 422
    assert TEXTS[lang](f"refund.errors.{code}", network="test") in page.text
    field = page.found("textarea", id="to")[0]
    assert "aria-invalid" in field and "to-error" in field["aria-describedby"]
    assert code not in page.text and "<script>alert" not in answer.text
    assert form.stored()["destination"] is None


def text_to_sign(form):
    message = html.unescape(re.search(r'class="mono message"[^>]*>(.*?)</p>', form.open().text)[1])
    assert form.invoice["id"] in message
    return message


def older(text, address):
    return bms.sign(text.encode(), KEY, address).b64encode()


def bip322_form(text, address):
    return bip322.sign(text.encode(), KEY, address).b64encode()


def bare(text, address):
    """As bitcoin-knots writes it: without the prefix that says which form it is."""
    return bip322_form(text, address)[3:]


@pytest.mark.parametrize(
    ("address", "sign"),
    [
        *product([LEGACY, NESTED, SEGWIT], [older, bip322_form, bare]),
        *product([KEYS_TAPROOT], [bip322_form, bare]),
    ],
)
def test_a_signature_of_the_address_is_checked(form, address, sign):
    message = text_to_sign(form)
    for bad in (sign("another text", address), sign(message + ".", address)):
        answer = form.send(address, signature=bad)
        assert answer.status_code == 422 and "does not fit this address and this text" in Page(answer.text).text
    assert form.stored()["destination"] is None
    signature = sign(message, address)
    assert form.send(address, signature=f" {signature[:40]}\r\n{signature[40:]}\n").status_code == 303
    assert form.stored()["destination"] == address
    with form.site.bridge.store.read() as tx:
        told = dossier.find(tx, id=form.invoice["id"]).audit
    noted = [row.reason for row in told if row.action == "refund_address_set"]
    assert noted == ["named by the payer, signed with its key"]


@pytest.mark.parametrize("lang", TEXTS)
def test_what_is_no_signature_is_told_the_forms_beside_its_field(form, lang):
    for address, text in (
        (SEGWIT, "nonsense"),
        (SEGWIT, "A" * 9_000),
        (KEYS_TAPROOT, older(text_to_sign(form), SEGWIT)),
    ):
        answer = form.send(address, query=f"?lang={lang}", signature=text)
        page = Page(answer.text)
        assert answer.status_code == 422
        assert TEXTS[lang]("refund.errors.signature_unsupported") in page.text
        field = page.found("textarea", id="signature")[0]
        assert "aria-invalid" in field and field["aria-describedby"] == "signature-error"
    assert form.stored()["destination"] is None


def test_a_signature_that_counts_only_later_is_not_taken(form):
    message, script = text_to_sign(form), ScriptPubKey.from_address(LEGACY).script
    spent = bip322.to_spend(message.encode(), script)
    later = bip322.to_sign(spent, lock_time=4_000_000)
    signature = dsa.sign_(from_tx(spent.vout, later, 0, ALL), KEY.q).serialize() + bytes([ALL])
    later.vin[0].script_sig = serialize([signature, KEY.pub.sec])
    answer = form.send(LEGACY, signature=bip322.Sig(later).b64encode())
    assert answer.status_code == 422 and "counts only from some later time on" in Page(answer.text).text
    assert form.stored()["destination"] is None


def test_a_signature_of_an_address_of_another_network_proves_nothing(form):
    real = ScriptPubKey(ScriptPubKey.from_address(SEGWIT).script, "mainnet").address
    answer = form.send(real, signature=bip322_form(text_to_sign(form), real))
    assert answer.status_code == 422 and "belongs to another network" in Page(answer.text).text


def test_without_the_link_no_signature_is_looked_at(form):
    assert form.send(SEGWIT, proof="forged", signature="nonsense").status_code == 404


def test_the_field_holds_a_multisig_proof_and_the_page_names_the_forms(form):
    page = Page(form.open().text)
    assert int(page.found("textarea", id="signature")[0]["maxlength"]) >= 5_000
    for lang in TEXTS:
        hint = Page(form.open(lang=lang).text).text
        assert "BIP-322" in hint and "BIP-137" in hint and "taproot" in hint.lower()


def test_the_pay_page_alone_does_not_open_the_form_and_wrong_links_look_alike(form):
    answers = [
        form.open(proof=""),
        form.open(proof=form.proof[:-1] + ("A" if form.proof[-1] != "A" else "B")),
        form.open(proof="ы"),
        form.site.call("GET", f"/pay/nope/refund?proof={form.proof}"),
        form.site.call("POST", "/pay/nope/refund", data={"proof": form.proof, "address": OWN}),
        form.send(OWN, proof="forged"),
    ]
    assert {a.status_code for a in answers} == {404} and len({a.data for a in answers}) == 1
    assert form.stored()["destination"] is None


def test_an_ended_refund_says_so_and_has_no_form(form):
    with form.site.bridge.store.write() as tx:
        person = {"name": "ann", "role": "approver", "is_active": True, "password_hash": "", "totp_nonce": ""}
        operators.add(tx, person | {"created_at": form.site.bridge.clock(), "created_by": "setup"})
    reject_payout(form.site.bridge, form.payout, actor="ann", reason="a mistake")
    page = Page(form.open().text)
    assert form.state() == "rejected" and not page.found("form", method="post")
    answer = Page(form.send(OWN).text)
    assert "can no longer be changed" in answer.text and not answer.found("form", method="post")


def test_the_form_is_in_the_payers_language_and_fetches_nothing_elsewhere(form):
    page = Page(form.open(lang="ru").text)
    assert "Куда вернуть деньги?" in page.text
    assert page.found("form", method="post")[0]["action"] == f"{form.path}?lang=ru"
    for answer in (form.open(lang="ru"), form.send("no address", query="?lang=ru")):
        (english,) = [each["href"] for each in Page(answer.text).found("a", hreflang="en")]
        there = form.site.app.test_client().get(form.path + english)
        assert there.status_code == 200 and '<html lang="en">' in there.text
    assert form.send(OWN, query="?lang=ru").headers["Location"].endswith("lang=ru")
    scripts = [a.get("src") for t, a in page.tags if t == "script"]
    assert len(scripts) == 1 and scripts[0].startswith("/static/")


@pytest.mark.parametrize("lang", TEXTS)
def test_every_state_of_a_refund_has_its_sentences(lang):
    told = TEXTS[lang].section("refund.states")
    assert set(told) == (set(STATES) - {"requested"}) | {"address_wanted", "address_known"}
    assert all(set(of) == {"title", "happened", "next", "you"} for of in told.values())
