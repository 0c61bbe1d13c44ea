"""The payer's wallet, pressed button by button."""

import pytest

SAT = 15_924


@pytest.fixture
def wallet(sandbox):
    """Presses a button of the wallet page for one fresh request and returns the page that follows."""
    address = sandbox.ok("inbox_create", expected_sat=SAT)["address"]
    link = f"bitcoin:{address}?amount=0.00015924"

    def press(action, uri=link):
        return sandbox.http.post(f"{sandbox.url}/wallet", data={"action": action, "uri": uri}, timeout=10)

    press.address, press.link, press.sandbox = address, link, sandbox
    return press


def received(wallet):
    state = wallet.sandbox.http.get(f"{wallet.sandbox.url}/_control/state", timeout=10).json()
    return state["wallets"][-1]["received_sat"][wallet.address]


@pytest.mark.parametrize(("action", "sat"), [("pay", SAT), ("pay90", 14_331), ("pay110", 17_516), ("twice", 2 * SAT)])
def test_each_way_of_paying_sends_what_it_says(wallet, action, sat):
    page = wallet(action)
    assert page.status_code == 200 and wallet.address in page.text and "unconfirmed" in page.text
    assert received(wallet) == sat


def test_a_fee_bump_keeps_the_money_and_taking_back_takes_it(wallet):
    first = wallet("pay").text
    bumped = wallet("bump").text
    assert received(wallet) == SAT and first.split("<li>")[1] != bumped.split("<li>")[1]
    wallet("back")
    assert received(wallet) == 0


def test_mining_confirms_and_a_reorganisation_takes_it_back(wallet):
    wallet("pay")
    assert "confirmations: 1" in wallet("mine").text
    assert "unconfirmed" in wallet("reorg").text
    assert "confirmations: 6" in wallet("mine6").text


def test_the_newest_request_is_there_without_pasting(wallet):
    page = wallet.sandbox.http.get(f"{wallet.sandbox.url}/wallet", timeout=10).text
    assert wallet.address in page and "without an amount" in page


def test_an_upper_case_link_is_the_same_request(wallet):
    wallet("pay", uri=wallet.link.upper().replace("AMOUNT", "amount"))
    assert received(wallet) == SAT


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("bitcoin:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq?amount=1", "not an address of this network"),
        ("nonsense", "not an address of this network"),
        ("ADDRESS?amount=ten", "not a number"),
        ("ADDRESS?amount=0.000000001", "impossible"),
        ("ADDRESS?amount=-1", "impossible"),
        ("ADDRESS", "names no amount"),
        ("<script>alert(1)</script>", "not an address of this network"),
    ],
)
def test_a_request_that_cannot_be_paid_is_told_in_words(wallet, uri, words):
    page = wallet("pay", uri=uri.replace("ADDRESS", wallet.address))
    assert page.status_code == 400 and words in page.text and "<script>alert" not in page.text
    assert received(wallet) == 0


def test_nothing_to_replace_and_unknown_buttons_are_told(wallet):
    assert "Nothing to this address waits" in wallet("bump").text
    assert "no such action" in wallet("steal").text.lower()
    russian = wallet.sandbox.http.get(f"{wallet.sandbox.url}/wallet?lang=ru", timeout=10).text
    assert "Кошелёк плательщика" in russian


@pytest.fixture
def asked(served, wallet):
    """An invoice of the emulated Lightning server."""
    with served.world.lock:
        lightning = served.world.lightning
        return lightning.create(lightning.create_wallet("shop"), {"amount": SAT, "memo": "VPS"}).bolt11


@pytest.mark.parametrize("form", ["lightning:{0}", "{0}", "LIGHTNING:{1}", "{2}&lightning={0}"])
def test_every_form_of_link_leads_to_a_payment_over_lightning(wallet, asked, form):
    uri = form.format(asked, asked.upper(), wallet.link)
    before = wallet.sandbox.http.get(f"{wallet.sandbox.url}/wallet", params={"uri": uri}, timeout=10).text
    assert "Pay over Lightning" in before and "0.00015924" in before and "arrived" not in before
    page = wallet("lightning", uri)
    assert page.status_code == 200 and "arrived over Lightning" in page.text
    again = wallet("lightning", uri)
    assert again.status_code == 400 and "paid already" in again.text


def test_what_is_held_says_so(wallet, asked):
    wallet.sandbox.control("knobs", ln_hold=True)
    assert "held by the receiver" in wallet("lightning", asked).text


def test_a_lightning_invoice_that_waits_is_among_the_newest(wallet, asked):
    page = wallet.sandbox.http.get(f"{wallet.sandbox.url}/wallet", timeout=10).text
    assert asked[:40] in page and wallet.address in page


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("lightning:lnbc1", "This is no Lightning invoice."),
        ("lnx" + "q" * 200, "This is no Lightning invoice."),
    ],
)
def test_what_is_no_lightning_invoice_is_said(wallet, uri, said):
    page = wallet("lightning", uri)
    assert page.status_code == 400 and said in page.text


def test_a_link_without_an_invoice_is_not_paid_over_lightning(wallet):
    page = wallet("lightning")
    assert page.status_code == 400 and "has no Lightning invoice" in page.text
    assert received(wallet) == 0
