"""The JSON bodies and queries of the module's API, and how any body or query is read.

Owns their shapes; must not judge an amount, a currency or a state: the flows do.
"""

import re
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from bridge.actions.fields import Body, DecimalText, Text, UtcTime, Whole
from bridge.core.errors import Refused

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
    amount: DecimalText | None = None
    currency: Currency | None = None


class BillingPaymentBody(Body):
    """One payment as the billing system has it now; `externalid` is what it keeps of ours."""

    billing_payment_id: BillingPaymentId
    status: Annotated[int, Field(ge=0, le=10_000)]
    amount: DecimalText
    currency: Currency
    externalid: Annotated[Text, Field(max_length=200)] = ""


class BillingStatusesBody(Body):
    """One page of a report that names every payment created since `covers_from`; `last` ends the report."""

    report_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    covers_from: UtcTime
    payments: Annotated[tuple[BillingPaymentBody, ...], Field(max_length=500)]
    last: bool


class CheckBody(Body):
    """A question whose signed answer proves that both sides hold the same secret."""

    nonce: Annotated[Text, Field(min_length=1, max_length=128)]
    currency: Currency = ""


class ListQuery(Body):
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
