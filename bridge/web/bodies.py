"""What a request brings: its bytes, its key, who calls, the JSON bodies and queries of the module's API.

Owns their shapes and limits, and the way from a Bearer key to its merchant or person; must not judge an amount, a currency or a state,
nor what a repeated key means (the flows do), nor keep, log or compare a Bearer key itself, only its hash.
"""

import hashlib
import hmac
import re
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from flask import abort, request
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from bridge.actions.row import Body, DecimalText, Matching, Text, UtcTime, Whole
from bridge.context import Merchant
from bridge.core.errors import Refused
from bridge.core.roles import may
from bridge.people.login import Identity, identity_of_token
from bridge.web.context import here

MAX_BODY_BYTES = 65_536
LONGEST_DESCRIPTION = 10_000
_LINK = re.compile(r"https?://[^\s\"'<>\\^`{|}\x00-\x1f\x7f]+")


def _web_link(text: str) -> str:
    """A browser will offer this link to the payer: nothing but a plain web address may stand there."""
    if not text:
        return text
    try:
        host = urlsplit(text).hostname
    except ValueError:
        host = None
    if not _LINK.fullmatch(text) or not host:
        raise ValueError("must be an http or https address")
    return text


Short = Annotated[Text, Field(max_length=200)]
Currency = Annotated[str, Field(max_length=16, examples=["USD"])]
WebLink = Annotated[str, Field(max_length=2_000), AfterValidator(_web_link)]
BillingPaymentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\-]{1,64}$", examples=["1001"])]


class CustomerBody(Body):
    """The client in the billing system. `tier` chooses the rule of the merchant's policy, `country` is ISO 3166 and goes
    to the screening of payments.
    """

    id: Annotated[Text, Field(max_length=64)] = ""
    email: Annotated[Text, Field(max_length=320)] = ""
    tier: Annotated[Text, Field(max_length=64)] = ""
    country: Annotated[str, Field(pattern=r"^([A-Za-z]{2})?$", examples=["DE"])] = ""


class NewInvoiceBody(Body):
    """One billing payment that wants to be paid in Bitcoin."""

    billing_payment_id: BillingPaymentId
    amount: DecimalText
    currency: Currency
    description: Annotated[Text, Field(max_length=LONGEST_DESCRIPTION)] = ""
    customer: CustomerBody = CustomerBody()
    service_ref: Short = ""
    return_url: WebLink = ""
    locale: Annotated[Text, Field(max_length=35)] = ""


class BillingChangeBody(Body):
    """What happened to the billing payment in the billing system."""

    change: Literal["cancelled", "deleted", "amount", "restored", "refunded"]
    billing_status: int | None = None
    amount_text: Annotated[DecimalText | None, Field(alias="amount")] = None
    currency: Currency | None = None


class BillingPaymentBody(Body):
    """One payment as the billing system has it now; `externalid` and `address` are what it keeps of ours."""

    billing_payment_id: BillingPaymentId
    status: Annotated[int, Field(ge=0, le=10_000)]
    amount_text: Annotated[DecimalText, Field(alias="amount")]
    currency: Currency
    external_id: Annotated[Text, Field(max_length=200, alias="externalid")] = ""
    address: Annotated[Text, Field(max_length=200)] = ""


class BillingStatusesBody(Body):
    """One page of a report that names every payment created since `covers_from`; `last` ends the report."""

    report_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    covers_from: UtcTime
    payments: Annotated[tuple[BillingPaymentBody, ...], Field(max_length=500)]
    is_last: Annotated[bool, Field(alias="last")]


class CheckBody(Body):
    """A question whose signed answer proves that both sides hold the same secret."""

    nonce: Annotated[Text, Field(min_length=1, max_length=128)]
    currency: Currency = ""


class ListQuery(Matching):
    """Which invoices, and which page of them."""

    billing_payment_id: BillingPaymentId | None = None
    status: Literal["new", "processing", "settled", "expired", "invalid"] | None = None
    limit: Annotated[Whole, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=200)] | None = None


class FeedQuery(Body):
    """Events behind a position."""

    after: Annotated[Whole, Field(ge=0)] = 0
    limit: Annotated[Whole, Field(ge=1, le=500)] = 100


Model = TypeVar("Model", bound=BaseModel)


def read_json(model: type[Model], body: bytes) -> Model:
    """The body as `model`. Raises Refused: invalid_json, unknown_field, missing_field or invalid_field with its path."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from None


def read_query(model: type[Model], query: dict[str, str]) -> Model:
    """The query as `model`. Raises Refused like `read_json`."""
    try:
        return model.model_validate(query)
    except ValidationError as error:
        raise _refused(error) from None


_CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field"}


def _refused(error: ValidationError) -> Refused:
    """The first fault, without the input: an answer must not repeat what may be a secret."""
    fault: ErrorDetails = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if fault["type"] == "json_invalid":
        return Refused("invalid_json", "The body is not JSON in UTF-8.")
    path = ".".join(str(part) for part in fault["loc"])[:100]
    code = _CODES.get(fault["type"], "invalid_field")
    return Refused(code, f"{path or 'body'}: {fault['msg']}"[:300], field=path or None)


_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def idempotency_key() -> str:
    """The request's key. Raises Refused("idempotency_key_missing") or ("idempotency_key_invalid")."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        raise Refused("idempotency_key_missing", "Send an Idempotency-Key header.", field="Idempotency-Key")
    if not _KEY.fullmatch(key):
        detail = "An Idempotency-Key is 1 to 64 letters, digits, '-' or '_'."
        raise Refused("idempotency_key_invalid", detail, field="Idempotency-Key")
    return key


def read_body() -> bytes:
    """The raw body, at most MAX_BODY_BYTES. Aborts with 413 above that, with or without a Content-Length.

    Werkzeug cuts a chunked body off at its limit without a word; so its limit is one byte higher and that byte tells.
    """
    request.max_content_length = MAX_BODY_BYTES + 1
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        abort(413)
    return body


_LONGEST_KEY = 512


def require_merchant() -> Merchant:
    """The merchant whose key the request carries. Raises Refused("unauthorized"), the same for every reason."""
    merchant = _merchant_of(_bearer_key())
    if merchant is None:
        raise Refused("unauthorized", "Send a valid API key as 'Authorization: Bearer …'.")
    return merchant


def require_operator(*permissions: str) -> Identity:
    """The person whose API token the request carries, holding at least one of the permissions.

    Raises Refused("unauthorized") or ("forbidden").
    """
    person = identity_of_token(here().bridge, _bearer_key())
    if person is None:
        raise Refused("unauthorized", "Send a valid operator token as 'Authorization: Bearer …'.")
    if not any(may(person.role, permission) for permission in permissions):
        raise Refused("forbidden", f"The role {person.role} may not do this: it needs {' or '.join(permissions)}.")
    return person


def merchant_or_operator(permission: str) -> tuple[Merchant | None, Identity | None]:
    """Who calls what both may call: exactly one of the two. Raises Refused like `require_operator`."""
    merchant = _merchant_of(_bearer_key())
    return (merchant, None) if merchant is not None else (None, require_operator(permission))


def is_insider() -> bool:
    """Whether the request may see what operators see: everyone when metrics are open, else whoever holds an API key."""
    return here().metrics_open or _merchant_of(_bearer_key()) is not None


def _bearer_key() -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and len(key) <= _LONGEST_KEY else ""


def _merchant_of(key: str) -> Merchant | None:
    """Compares with every known hash, so that the time says nothing about which of them was close."""
    given = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    matches = [merchant for known, merchant in here().api_keys.items() if hmac.compare_digest(known, given)]
    return here().bridge.merchants.get(matches[0]) if key and matches else None
