"""A receipt goes by mail: with the settlement, once it can, and never less than once."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bridge.core.errors import Unavailable
from bridge.core.policy import Policy, Rule
from bridge.core.schedule import DELAYS_SECONDS
from bridge.invoices.mail_receipts import AT_LEAST, AT_ONCE, mail_receipts
from bridge.mail import Smtp
from bridge.permit import set_mode
from bridge.store.tables import receipt_mails
from tests.builders import build_merchant
from tests.deploy.site import certify
from tests.mail_server import MailServer, mail_server
from tests.web.conftest import Site, build_site

PASSWORD = "a-password-of-the-mail-server"
CUSTOMER = {"id": "c1", "email": "payer@example.net"}


@pytest.fixture
def post() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def smtp(server: MailServer, **changes: Any) -> Smtp:
    facts: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "security": "none"}
    return Smtp(**facts | {"sender": "billing@shop.example", "name": "Example Hosting"} | changes)


@pytest.fixture
def shop(database_url: str, post: MailServer) -> Iterator[Site]:
    built = build_site(database_url, bridge={"mailer": smtp(post), "shop_name": "Example Hosting"})
    with closing(built.bridge.store):
        yield built


def paid(site: Site, number: str = "1001", **changes: Any) -> dict[str, Any]:
    invoice = site.open(number, **{"customer": CUSTOMER, "locale": "en"} | changes)
    site.pay(invoice, invoice["quote"]["due_sat"], confirmations=1)
    return invoice


def send(mailer: Smtp, *, to: str = "payer@example.net", text: str = "Paid.\n") -> None:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    mailer.send(to=to, subject="Receipt", text=text, reference="receipt.1", at=at)


def stored(site: Site) -> list[Any]:
    with site.bridge.store.read() as tx:
        return list(tx.execute(select(receipt_mails)).all())


def test_a_settled_order_is_receipted_to_the_address_that_the_billing_system_named(
    shop: Site, post: MailServer
) -> None:
    invoice = paid(shop, amount="1490.50", currency="RUB", locale="ru")
    assert post.letters == [] and [row.state for row in stored(shop)] == ["waiting"]
    assert (mail_receipts(shop.bridge), mail_receipts(shop.bridge)) == (1, 0)
    (letter,) = post.letters
    assert (letter["To"], letter["From"]) == ("payer@example.net", "Example Hosting <billing@shop.example>")
    assert letter["Subject"] == "Квитанция об оплате: 1001" and letter["Auto-Submitted"] == "auto-generated"
    text = letter.get_content()
    told = shop.page(invoice, "/status").json["statement"]
    for part in ("1 490,50 ₽", f"{told['received_sat'] / 10**8:.8f} BTC", "Цена 1 BTC", "Example Hosting"):
        assert part in text
    assert f"{invoice['payment_url']}/receipt" in text and "налоговый" in text
    assert [(row.state, row.attempts, row.error) for row in stored(shop)] == [("sent", 1, "")]


def lines_of(post: MailServer) -> list[str]:
    """The newest letter's, with plain spaces."""
    return list(post.letters[-1].get_content().replace("\u00a0", " ").splitlines())


def test_what_does_not_count_stands_in_the_letter_so_that_it_adds_up(shop: Site, post: MailServer) -> None:
    invoice = shop.open(customer=CUSTOMER, locale="en")
    shop.pay(invoice, 545, confirmations=1)
    shop.pay(invoice, invoice["quote"]["due_sat"] + 9_000, confirmations=1)
    mail_receipts(shop.bridge)
    told = dict(line.split(": ", 1) for line in lines_of(post) if ": " in line)
    sat = {name: int(text.partition(" BTC")[0].replace(".", "")) for name, text in told.items() if " BTC" in text}
    assert (sat["Not counted"], sat["Too much"]) == (545, 9_000)
    assert sat["Received"] == sat["Asked for"] + sat["Too much"] + sat["Not counted"]


@pytest.mark.parametrize(
    ("rule", "shown", "left_out"),
    [
        ({"risk_bps": 100}, "Cover for price moves (1 %): 0.10 USD", "Share of network costs"),
        ({"risk_bps": 0, "fee_buffer_minor": {"USD": 25}}, "Share of network costs: 0.25 USD", "Cover for price moves"),
    ],
)
def test_the_letter_names_prices_as_the_page_does_and_no_line_of_nothing(
    sqlite_url: str, post: MailServer, rule: dict[str, Any], shown: str, left_out: str
) -> None:
    merchants = {"shop": build_merchant(policy=Policy(default=Rule(**rule)))}
    site = build_site(sqlite_url, bridge={"mailer": smtp(post), "merchants": merchants})
    with closing(site.bridge.store):
        paid(site)
        mail_receipts(site.bridge)
        lines = lines_of(post)
        assert lines[lines.index("How the amount was made") + 1] == "Order amount: 10.00 USD" and shown in lines
        assert not [line for line in lines if left_out in line]
        invoice = site.open("1002", customer=CUSTOMER, locale="en")
        site.pay(invoice, 10_000, confirmations=1)
        site.world.clock.advance(901)
        site.page(invoice, "/quote", method="POST")
        site.pay(invoice, site.page(invoice, "/status").json["shown_sat"], confirmations=1)
        mail_receipts(site.bridge)
        lines = lines_of(post)
        first, second = (lines.index(f"How the amount was made: Price {n}") for n in (1, 2))
        assert lines[first + 1] == "Order amount: 10.00 USD" and lines[second + 1].startswith("Remaining amount: ")


def test_without_an_address_or_a_server_nothing_is_promised(shop: Site, sqlite_url: str) -> None:
    paid(shop, customer={"id": "c1"})
    assert stored(shop) == [] and mail_receipts(shop.bridge) == 0
    silent = replace(shop, bridge=replace(shop.bridge, mailer=None))
    assert mail_receipts(silent.bridge) == 0


def test_a_server_that_is_down_is_tried_again_by_the_schedule(shop: Site, post: MailServer) -> None:
    paid(shop)
    post.answers["RCPT"] = "450 come again"
    assert (mail_receipts(shop.bridge), mail_receipts(shop.bridge)) == (1, 0)
    assert [(row.state, row.error) for row in stored(shop)] == [("waiting", "mail_unavailable")]
    post.answers.clear()
    shop.world.clock.advance(120)
    assert mail_receipts(shop.bridge) == 1 and len(post.letters) == 1
    assert [(row.state, row.attempts) for row in stored(shop)] == [("sent", 2)]


def test_after_the_last_try_it_is_given_up(shop: Site, post: MailServer) -> None:
    paid(shop)
    post.answers["MAIL"] = "421 busy"
    for delay in (0, *DELAYS_SECONDS):
        shop.world.clock.advance(max(delay, 120))
        assert mail_receipts(shop.bridge) == 1
    assert [(row.state, row.attempts) for row in stored(shop)] == [("failed", len(DELAYS_SECONDS) + 1)]
    shop.world.clock.advance(10 * DELAYS_SECONDS[-1])
    assert mail_receipts(shop.bridge) == 0


REFUSALS = [
    ("550 5.1.1 no such mailbox", "RCPT"),
    ("550 no", "RCPT"),
    ("554 not this", "DATA"),
    ("552 too big", "LETTER"),
]


@pytest.mark.parametrize(("answer", "verb"), REFUSALS)
def test_a_no_for_good_is_not_asked_again(shop: Site, post: MailServer, answer: str, verb: str) -> None:
    paid(shop)
    post.answers[verb] = answer
    mail_receipts(shop.bridge)
    assert [(row.state, row.error) for row in stored(shop)] == [("failed", "mail_refused")]


@pytest.mark.parametrize(
    ("answer", "verb"),
    [
        ("554 not here", "CONNECT"),
        ("521 no mail", "CONNECT"),
        ("550 who are you", "EHLO"),
        ("530 log in first", "MAIL"),
        ("550 not your address", "MAIL"),
        ("530 5.7.0 log in first", "RCPT"),
        ("550 5.4.5 daily sending quota exceeded", "RCPT"),
        ("550 5.7.1 relaying denied", "RCPT"),
        ("550 5.7.26 this sender is unauthenticated", "LETTER"),
    ],
)
def test_a_no_that_is_about_the_shop_is_asked_again(post: MailServer, answer: str, verb: str) -> None:
    post.answers[verb] = answer
    if verb == "EHLO":
        post.answers["HELO"] = answer
    with pytest.raises(Unavailable) as said:
        send(smtp(post))
    assert said.value.code == "mail_unavailable"


def test_a_server_that_says_goodbye_badly_has_the_letter(post: MailServer) -> None:
    post.answers["QUIT"] = "550 no"
    send(smtp(post))
    assert len(post.letters) == 1


@pytest.mark.parametrize("address", ["first.last+vps@b-c.example", "100%_o'neil@example.net", "a@localhost"])
def test_a_letter_goes_to_the_very_address_that_was_named(post: MailServer, address: str) -> None:
    send(smtp(post), to=address)
    assert post.envelopes == [f"TO:<{address}>"]
    assert [each["To"] for each in post.letters] == [address]


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": "a..b@example.com"},
        {"host": "mail..example.com"},
        {"username": "billing", "password": "пароль"},
    ],
)
def test_what_the_shop_set_wrongly_is_a_fault_that_has_no_words(changes: dict[str, Any]) -> None:
    with mail_server(login=("billing", PASSWORD)) as post, pytest.raises(Unavailable) as said:
        send(smtp(post, **changes))
    assert said.value.code == "mail_unavailable" and "пароль" not in said.value.detail


def test_a_letter_that_cannot_be_written_down_is_tried_by_the_schedule(post: MailServer) -> None:
    with pytest.raises(Unavailable):
        send(smtp(post), text="\ud800")


class Broken:
    """A defect: an error that nobody foresaw, with the payer's words."""

    def __init__(self, but: Smtp | None = None) -> None:
        self.tries, self.but = 0, but

    def send(self, **letter: Any) -> None:
        self.tries += 1
        if self.but is None or self.tries == 1:
            raise KeyError(letter["to"])
        self.but.send(**letter)


def test_the_trouble_of_one_letter_stops_no_other(
    shop: Site, post: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    for number in ("1001", "1002", "1003"):
        paid(shop, number)
    assert mail_receipts(replace(shop.bridge, mailer=Broken(smtp(post)))) == 3
    assert sorted((row.state, row.error) for row in stored(shop)) == [
        ("sent", ""),
        ("sent", ""),
        ("waiting", "internal"),
    ]
    [defect] = [line.defect for line in caplog.records if hasattr(line, "defect")]
    assert defect.startswith("KeyError in send, line ") and "payer@" not in caplog.text


def test_a_letter_with_a_defect_is_given_up_too(shop: Site, post: MailServer) -> None:
    paid(shop)
    broken = replace(shop.bridge, mailer=Broken())
    for delay in (0, *DELAYS_SECONDS):
        shop.world.clock.advance(max(delay, 120))
        assert (mail_receipts(broken), mail_receipts(broken)) == (1, 0)
    assert [(row.state, row.error) for row in stored(shop)] == [("failed", "internal")]


def test_who_is_killed_in_the_last_try_of_all_leaves_none_for_ever(shop: Site, post: MailServer) -> None:
    class Killed(BaseException):
        pass

    class Mailer:
        def send(self, **letter: Any) -> None:
            raise Killed

    paid(shop)
    dying = replace(shop.bridge, mailer=Mailer())
    for delay in (0, *DELAYS_SECONDS):
        shop.world.clock.advance(max(delay, 120))
        with pytest.raises(Killed):
            mail_receipts(dying)
    assert mail_receipts(shop.bridge) == 0
    shop.world.clock.advance(120)
    assert (mail_receipts(shop.bridge), mail_receipts(shop.bridge)) == (1, 0)
    assert [(row.state, row.error) for row in stored(shop)] == [("failed", "tries_over")] and post.letters == []


def test_letters_that_wait_for_their_next_try_keep_none_waiting_that_is_due(shop: Site, post: MailServer) -> None:
    for number in range(AT_ONCE):
        paid(shop, str(number))
    post.answers["RCPT"] = "450 come again"
    # Behind four tries each is due in ten minutes.
    for _ in range(4):
        shop.world.clock.advance(120)
        assert mail_receipts(shop.bridge) == AT_ONCE
    late = paid(shop, "2001")
    for _ in range(2):
        shop.world.clock.advance(120)
        assert mail_receipts(shop.bridge) == 1
        post.answers.clear()
    assert [each["Message-ID"] for each in post.letters] == [f"<receipt.{late['id']}@shop.example>"]


def test_a_try_that_was_made_ahead_of_now_was_none(shop: Site, post: MailServer) -> None:
    paid(shop)
    post.answers["RCPT"] = "450 come again"
    shop.world.clock.advance(86_400)
    mail_receipts(shop.bridge)
    post.answers.clear()
    shop.world.clock.advance(-43_200)
    assert mail_receipts(shop.bridge) == 1 and len(post.letters) == 1


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example, c@d.example",
        "a@b.example\r\nBcc: x@y.example",
        "no address",
        "@",
        "=?utf-8?q?victim=40x.example=2C?=@b.example",
        "a@b..c",
        "[a]@b.example",
        "a..b@b.example",
        "a@b.example.",
        "a@b.example\n",
        f"{'a' * 250}@b.example",
    ],
)
def test_what_is_no_one_address_is_sent_nothing(post: MailServer, sqlite_url: str, address: str) -> None:
    site = build_site(sqlite_url, bridge={"mailer": smtp(post)})
    with closing(site.bridge.store):
        response = site.api("POST", "/v1/invoices", site.order(customer={"id": "c", "email": address}), key="k1")
        if response.status_code in (200, 201):
            site.pay(response.json, response.json["quote"]["due_sat"], confirmations=1)
            mail_receipts(site.bridge)
            assert [(row.state, row.error) for row in stored(site)] == [("failed", "bad_mail_address")]
        assert post.letters == [] and post.verbs == []


def test_who_is_killed_behind_the_sending_sends_it_again_under_the_same_id(shop: Site, post: MailServer) -> None:
    class Killed(BaseException):
        pass

    class Mailer:
        def send(self, **letter: Any) -> None:
            smtp(post).send(**letter)
            raise Killed

    invoice = paid(shop)
    dying = replace(shop.bridge, mailer=Mailer())
    with pytest.raises(Killed):
        mail_receipts(dying)
    assert [(row.state, row.attempts) for row in stored(shop)] == [("waiting", 1)]
    assert mail_receipts(shop.bridge) == 0
    shop.world.clock.advance(121)
    assert mail_receipts(shop.bridge) == 1
    assert [each["Message-ID"] for each in post.letters] == [f"<receipt.{invoice['id']}@shop.example>"] * 2
    assert [row.state for row in stored(shop)] == ["sent"]


class Slow:
    """A mail server that says in the end that it did not take the letter, when another worker's try is over already."""

    def __init__(self, site: Site, other: Smtp):
        self._site, self._other, self._is_first = site, other, True

    def send(self, **letter: Any) -> None:
        if not self._is_first:
            self._other.send(**letter)
            return
        self._is_first = False
        self._site.world.clock.advance(AT_LEAST.total_seconds() + DELAYS_SECONDS[0])
        assert mail_receipts(self._site.bridge) == 1
        raise Unavailable("mail_unavailable", "The mail server hung up.")


def test_a_try_that_fails_after_the_next_one_has_sent_it_changes_nothing(sqlite_url: str, post: MailServer) -> None:
    site = build_site(sqlite_url, bridge={"mailer": smtp(post), "shop_name": "Example Hosting"})
    with closing(site.bridge.store):
        paid(site)
        slow = replace(site, bridge=replace(site.bridge, mailer=None))
        slow.bridge = replace(site.bridge, mailer=Slow(slow, smtp(post)))
        assert mail_receipts(slow.bridge) == 1
        assert [(row.state, row.attempts, row.error) for row in stored(site)] == [("sent", 2, "")]
        site.world.clock.advance(86_400)
        assert (mail_receipts(site.bridge), len(post.letters)) == (0, 1)


def test_a_settlement_that_was_taken_back_is_not_receipted(shop: Site, post: MailServer) -> None:
    invoice = paid(shop)
    shop.world.money.outputs[-1].gone = True
    shop.look(invoice)
    mail_receipts(shop.bridge)
    assert post.letters == [] and [(row.state, row.error) for row in stored(shop)] == [("failed", "not_settled")]


def test_a_bridge_that_only_reads_sends_nothing(shop: Site, post: MailServer) -> None:
    paid(shop)
    set_mode(shop.bridge, scope="bridge", mode="read_only", actor="operator", reason="maintenance")
    assert mail_receipts(shop.bridge) == 0 and post.verbs == []


def test_over_tls_with_a_password_that_nobody_reads(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certify(tmp_path)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    def trusting() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    with mail_server(tls=ours, login=("billing", PASSWORD)) as post:
        known = {"security": "starttls", "username": "billing", "context": trusting}
        site = build_site(sqlite_url, bridge={"mailer": smtp(post, password="wrong-password-of-somebody", **known)})
        with closing(site.bridge.store):
            paid(site)
            mail_receipts(site.bridge)
            assert [(row.state, row.error) for row in stored(site)] == [("waiting", "mail_unavailable")]
            mailer = smtp(post, password=PASSWORD, **known)
            assert PASSWORD not in repr(mailer)
            site.world.clock.advance(121)
            mail_receipts(replace(site.bridge, mailer=mailer))
            assert [row.state for row in stored(site)] == ["sent"]
        said = "".join(capsys.readouterr())
        assert PASSWORD not in said and "wrong-password" not in said and "payer@example.net" not in said
        assert "STARTTLS" in post.verbs and post.letters
