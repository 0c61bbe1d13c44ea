"""mgrctl as a command: options, values as they are, faults."""

import time
from xml.etree import ElementTree as ET

import pytest
import requests

from sandbox.billmanager import serve_in_thread
from tests.sandbox_billmanager.driver import Billing


def test_values_arrive_as_they_are(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    odd = "a=b #x 'single' \"double\" $HOME ;rm -rf\nвторая строка\t&<>"
    ready.mgrctl("payment.setinpay", elid=number, info=odd)
    assert ready.payment(number)["info"] == odd
    assert ready.control("GET", "records?kind=mgrctl")["records"][-1]["argv"][-2] == f"info={odd}"


def test_a_value_can_come_from_the_environment_and_stays_out_of_the_record(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.run("-m", "billmgr", "-e", "info=$NOTE", "payment.setinpay", f"elid={number}", "out=xml", NOTE="secret-note")
    assert ready.payment(number)["info"] == "secret-note"
    assert "secret-note" not in str(ready.control("GET", "records?kind=mgrctl")["records"][-1]["argv"])


def test_an_error_document_in_xml_ends_with_zero(billing: Billing) -> None:
    done = billing.run("-m", "billmgr", "payment.info", "elid=1", "out=xml")
    assert done.returncode == 0 and ET.fromstring(done.stdout).find("error") is not None


def test_the_format_option_before_the_function_works_too(billing: Billing) -> None:
    assert billing.run("-m", "billmgr", "-o", "xml", "whoami").stdout.startswith(b"<?xml")
    assert billing.run("-m", "billmgr", "-o", "json", "whoami").stdout.startswith(b'{"doc"')


def test_lists_usage_and_restart(billing: Billing) -> None:
    assert b"payment.setpaid\n" in billing.run("-m", "billmgr", "-l").stdout
    assert billing.run("-u").stdout.startswith(b"usage: mgrctl")
    before = billing.control("GET", "state")["restarts"]
    assert billing.run("-m", "billmgr", "-R").returncode == 0
    assert billing.run("-m", "billmgr", "exit").returncode == 0
    assert billing.control("GET", "state")["restarts"] == before + 2


@pytest.mark.parametrize(
    "argv", [[], ["-x"], ["-m", "other", "whoami"], ["whoami", "noequals"], ["-o", "pdf", "whoami"]]
)
def test_bad_usage_ends_with_one_and_a_text(billing: Billing, argv: list[str]) -> None:
    done = billing.run(*argv)
    assert (done.returncode, done.stdout) == (1, b"") and b"usage: mgrctl" in done.stderr


def test_the_door_is_closed_without_the_token(billing: Billing) -> None:

    assert requests.post(f"{billing.url}/_mgrctl", data=b"x\0" + b"1\0000\0whoami", timeout=5).status_code == 403


def test_no_core_no_answer(tmp_path: object) -> None:
    running = serve_in_thread(f"{tmp_path}/mgr5", module_trees=[])
    gone = Billing(running=running)
    assert gone.run("whoami").returncode == 0
    running.stop()
    done = gone.run("whoami")
    assert (done.returncode, done.stdout) == (1, b"") and b"no connection" in done.stderr


def test_slow(billing: Billing) -> None:
    billing.fault(target="mgrctl", kind="slow", name="whoami", seconds=0.3)
    begun = time.monotonic()
    assert billing.mgrctl("whoami").find("user") is not None
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("kind", "rc"), [("dead", 1), ("exit", 1), ("killed", -9)])
def test_failing_without_effect(ready: Billing, kind: str, rc: int) -> None:
    number = ready.order()["payment_id"]
    ready.fault(target="mgrctl", kind=kind, name="payment.setpaid")
    done = ready.run("-m", "billmgr", "payment.setpaid", f"elid={number}", "out=xml")
    assert (done.returncode, done.stdout) == (rc, b"")
    assert ready.payment(number)["status"] == 8


def test_an_error_document_on_demand(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.fault(
        target="mgrctl", kind="error", name="payment.setpaid", error_type="access", error_object="payment.setpaid"
    )
    document = ready.mgrctl("payment.setpaid", elid=number)
    found = document.find("error")
    assert found is not None and found.get("type") == "access"
    assert ready.payment(number)["status"] == 8


def test_an_answer_lost_after_the_effect(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.fault(target="mgrctl", kind="lost", name="payment.setpaid")
    assert ready.run("-m", "billmgr", "payment.setpaid", f"elid={number}", "out=xml").returncode == 1
    assert ready.payment(number)["status"] == 4


def test_truncated_xml_and_bytes_that_are_no_text(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    ready.fault(target="mgrctl", kind="truncated", name="payment.info")
    ready.fault(target="mgrctl", kind="non_utf8", name="payment.info")
    for wrong in (ET.ParseError, ET.ParseError):
        done = ready.run("-m", "billmgr", "payment.info", f"elid={number}", "out=xml")
        assert done.returncode == 0
        with pytest.raises(wrong):
            ET.fromstring(done.stdout)
    assert ready.mgrctl("payment.info", elid=number).find("payment") is not None


def test_faults_count_down_can_be_given_for_ever_and_be_cleared(billing: Billing) -> None:
    billing.fault(target="mgrctl", kind="exit", times=2)
    assert [billing.run("whoami").returncode for _ in range(3)] == [1, 1, 0]
    billing.fault(target="mgrctl", kind="exit", times=-1)
    assert [billing.run("whoami").returncode for _ in range(2)] == [1, 1]
    billing.control("DELETE", "faults")
    assert billing.run("whoami").returncode == 0


def test_chances_are_repeatable_with_a_seed(billing: Billing) -> None:
    def outcomes() -> list[int]:
        billing.control(
            "POST",
            "faults",
            clear=True,
            seed=7,
            faults=[{"target": "mgrctl", "kind": "exit", "times": -1, "chance": 0.5}],
        )
        return [billing.run("whoami").returncode for _ in range(8)]

    first = outcomes()
    assert first == outcomes() and set(first) == {0, 1}


def test_an_unknown_fault_is_refused(billing: Billing) -> None:
    assert billing.control("POST", "faults", target="mgrctl", kind="flying")["http"] == 400
    assert billing.control("POST", "knobs", nonsense=1)["http"] == 400
