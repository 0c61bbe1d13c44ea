"""A good payment as the contract tells it in nine steps, seen from the billing side: the module is a list of calls."""

from tests.sandbox_billmanager.driver import Billing, error


def test_the_nine_steps(ready: Billing) -> None:
    ready.running.world.next_ids["payments"] = 7
    sid = ready.control("POST", "session")["session"]
    # 1: the client wants to pay
    wish = {"amount": "10.00", "payment_currency": "126", "paymethod": "1", "randomnumber": "aB3dE5fG7hJ9"}
    made = ready.api("payment.add.method", auth=sid, clicked_button="topaysystem", snext="ok", sok="ok", **wish)
    goal = made.find("ok")
    assert goal is not None and goal.text == "/mancgi/tokenpayment?elid=7"
    assert goal.attrib == {"type": "url", "on_blank_redirect_action": "func=payment"}
    assert ready.history(7) == [(1, 8, "payment.add.method", "127.0.0.1")]
    # 2: the pay script asks who it is, whether the payment is theirs, and what it is
    who = ready.mgrctl("whoami", auth=sid).find("user")
    assert who is not None and who.get("name") == "demo"
    own = ready.mgrctl("payment", filter="on", id=7, auth=sid)
    assert [row.findtext("id") for row in own.findall("elem")] == ["7"]
    stranger = ready.control("POST", "session", user="other")["session"]
    assert ready.mgrctl("payment", filter="on", id=7, auth=stranger).find("elem") is None
    info = ready.mgrctl("payment.info", elid=7)
    assert (info.findtext("payment/status"), info.findtext("payment/randomnumber")) == ("8", "aB3dE5fG7hJ9")
    done = ready.mgrctl("payment.setinpay", peer="subtcpayment", elid=7, externalid="INV", info="opened")
    assert done.find("ok") is not None
    assert ready.history(7)[-1] == (8, 2, "payment.setinpay", "subtcpayment")
    # 3: a reload leaves no second history row
    ready.mgrctl("payment.setinpay", peer="subtcpayment", elid=7, externalid="INV", info="opened")
    assert len(ready.history(7)) == 2
    # 4 and 5: a refused notification makes no status call; reading alone changes nothing
    assert (ready.payment(7)["status"], ready.payment(7)["externalid"]) == (2, "INV")
    # 6: the money is final
    info = ready.mgrctl("payment.info", elid=7)
    assert (info.findtext("payment/status"), info.findtext("payment/externalid")) == ("2", "INV")
    ready.mgrctl("payment.setpaid", peer="subtcresult", elid=7, externalid="INV", info="paid")
    assert ready.mgrctl("payment.info", elid=7).findtext("payment/status") == "4"
    assert ready.balance() == "10.00"
    # 7: again, and by checkpay at the same time
    ready.mgrctl("payment.setpaid", peer="subtcresult", elid=7, externalid="INV", info="paid")
    ready.control("POST", "tick")
    assert (ready.balance(), [move[1] for move in ready.history(7)]) == ("10.00", [8, 2, 4])


def test_a_notification_while_mgrctl_is_down_is_made_good_by_checkpay(ready: Billing) -> None:
    ordered = ready.order()
    number = ordered["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number, externalid="INV")
    ready.fault(target="mgrctl", kind="dead", name="payment.setpaid")
    assert ready.run("payment.setpaid", f"elid={number}", "out=xml").returncode == 1  # step 8: 503 to the gateway
    assert ready.payment(number)["status"] == 2
    ready.control("POST", "tick")
    assert (ready.payment(number)["status"], ready.services()) == (4, [("vps", "active", 1)])


def test_an_expired_invoice_is_cancelled_and_the_return_page_says_so(ready: Billing) -> None:
    ordered = ready.order()
    number = ordered["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number)
    ready.mgrctl("payment.setcanceled", elid=number, info="expired")
    assert ready.payment(number)["status"] == 9
    page = ready.text("payment.fail", out="", elid=number, module="pmtoken", auth=ordered["session"])
    assert page.status_code == 200 and "did not go through" in page.text
    assert error(ready.api("payment.failed", elid=number, authinfo="admin:admin")) == ("missed", "payment.failed")


def test_the_core_may_restart_during_checkpay(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number)
    ready.control("GET", "state")
    ready.fault(target="module", kind="restart", name="pmtoken")
    before = ready.control("GET", "state")["restarts"]
    ready.control("POST", "tick", module="pmtoken")
    assert ready.control("GET", "state")["restarts"] == before + 1
    assert ready.payment(number)["status"] == 4


def test_a_full_disk_stops_a_module_that_writes(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.mgrctl("payment.setinpay", elid=number)
    ready.fault(target="module", kind="disk_full", name="pmtoken")
    runs = ready.control("POST", "tick", module="pmtoken")["runs"]
    assert runs[0]["note"] == "disk_full" and "File too large" in runs[0]["stderr"]
