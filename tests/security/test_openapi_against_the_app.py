"""Requests made by schemathesis from /openapi.json: no answer is a defect, and none surprises the document.

Owns who asks and what exists; what is asked and how answers are judged is the library's.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import given
from schemathesis import GenerationMode

from bridge.payouts.refunds import NewRefund, request_refund
from bridge.people.operators import issue_token
from bridge.store import operators
from tests.parts import WHOLE
from tests.payouts.desk import PAYER
from tests.web.conftest import API_KEY, Site, build_site

# Each key asks once about something that exists and once about what comes.
REQUESTS = 12 if WHOLE else 8
# A request can fit the document and be refused all the same: a shop may not want that currency, an address may be ours.
# Whose key opens what is tested in test_merchants_apart and the tests of roles; here every request has the right one.
# A 503 is an answer: something outside is away. That it is no defect of ours is looked at here.
LEFT_OUT = (
    "not_a_server_error",
    "positive_data_acceptance",
    "ignored_auth",
    "negative_data_rejection",
    "missing_required_header",
)
SETTINGS = hypothesis.settings(
    max_examples=REQUESTS, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Any) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("openapi") / "bridge.db"
    path.write_bytes(sqlite_template.read_bytes())
    built = build_site(f"sqlite:///{path}")
    with closing(built.bridge.store):
        yield built


@pytest.fixture(scope="module")
def keys(site: Site) -> list[str]:
    """The module's key, and a token of somebody of every role that has a say."""
    now = site.bridge.clock()
    person = {"is_active": True, "password_hash": "", "totp_nonce": "", "created_at": now, "created_by": "setup"}
    roles = ("admin", "finance", "approver")
    with site.bridge.store.write() as tx:
        for role in roles:
            operators.add(tx, {"name": role, "role": role} | person)
    period: dict[str, Any] = {"starts_at": None, "ends_at": now + timedelta(days=1), "note": ""}
    issued = (
        issue_token(site.bridge, operator=role, role=role, actor="admin", reason="test", **period) for role in roles
    )
    return [API_KEY, *(each.token for each in issued)]


@pytest.fixture(scope="module")
def known(site: Site) -> dict[str, str]:
    """Half of the requests must get past the 404: they name what exists."""
    invoice = site.open("1001")
    site.pay(invoice, invoice["remaining_sat"] + 500_000, confirmations=6)
    wanted = NewRefund(invoice_id=invoice["id"], variant="excess_only", destination=PAYER)
    asked = request_refund(site.bridge, merchant_id=None, request=wanted, key="k", actor="finance", reason="asked")
    with site.bridge.store.read() as tx:
        review, delivery = (
            tx.exec_driver_sql(f"SELECT id FROM {table} LIMIT 1").scalar() for table in ("reviews", "deliveries")
        )
    return {
        "invoice_id": invoice["id"],
        "public_id": invoice["payment_url"].rpartition("/")[2],
        "token": site.bridge.callback_token(invoice["id"]),
        "payout_id": asked.payout["id"],
        "review_id": review,
        "delivery_id": delivery,
    }


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_made_from_the_document_finds_a_defect_or_an_undescribed_answer(site, keys, known, mode):
    described = schemathesis.openapi.from_wsgi("/openapi.json", site.app)
    left_out = [schemathesis.checks.CHECKS.get_one(name) for name in LEFT_OUT]
    seen: Counter[int] = Counter()

    def throw(case: Any) -> None:
        """In turn with each key, and every other time about something that exists."""
        number = seen.total()
        if number // len(keys) % 2:
            case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
        answer = case.call(headers={"Authorization": f"Bearer {keys[number % len(keys)]}"})
        seen[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=left_out)
        assert answer.status_code < 500 or (answer.status_code == 503 and '"internal"' not in answer.text)

    for found in described.get_all_operations():
        # Where nothing can be asked wrongly there is no such request.
        with suppress(hypothesis.errors.Unsatisfiable):
            SETTINGS(given(case=found.ok().as_strategy(generation_mode=mode))(throw))()
    assert {200, 401, 403, 404, 422} <= set(seen)
    assert seen.total() > 400
