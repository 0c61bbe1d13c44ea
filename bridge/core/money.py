"""Amounts as integers: minor units of a currency and satoshi, and their exact texts.

Owns every conversion between text and integer; must not round an amount: what does not fit is refused.
"""

import re
from decimal import Decimal
from fractions import Fraction
from math import floor

from bridge.core.currencies import CURRENT, KEPT, unknown
from bridge.core.errors import Refused

# Assets by their names in the books. Amounts of one are in its smallest unit: satoshi.
BTC = "BTC"
SAT_PER_BTC = 100_000_000
MAX_MONEY_SAT = 21_000_000 * SAT_PER_BTC
MAX_MINOR = 10**15 - 1

# Of every currency that an invoice is or was in.
EXPONENTS: dict[str, int] = CURRENT | KEPT
_SMALLEST_PRICE = Fraction(1, 10**8)
_MOST_PLACES = 200
_DECIMAL_TEXT = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,8})?")


def exponent_of(currency: str) -> int:
    """Digits after the point in `currency` by ISO 4217 (JPY 0, USD 2, KWD 3). Raises Refused("unknown_currency")."""
    if currency not in EXPONENTS:
        raise unknown(currency)
    return EXPONENTS[currency]


def to_minor(text: str, currency: str) -> int:
    """Decimal text to minor units, exactly: "10", "10.0" and "10.00" USD are 1000.

    Raises Refused("invalid_amount") for anything that is not a plain positive decimal or has digits the currency does
    not have.
    """
    exponent = exponent_of(currency)
    if not _DECIMAL_TEXT.fullmatch(text):
        raise Refused("invalid_amount", "The amount must be a plain positive decimal such as 10.00.", field="amount")
    whole, _, fraction = text.partition(".")
    if fraction[exponent:].strip("0"):
        raise Refused("invalid_amount", f"{currency} has {exponent} digits after the point.", field="amount")
    minor = int(whole + fraction[:exponent].ljust(exponent, "0"))
    if not 0 < minor <= MAX_MINOR:
        raise Refused(
            "invalid_amount", "The amount must be above zero and below the supported maximum.", field="amount"
        )
    return minor


def minor_text(minor: int, currency: str) -> str:
    """Minor units to decimal text with all digits of the currency: 1000 USD is "10.00"."""
    exponent = exponent_of(currency)
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(exponent + 1, "0")
    return sign + (digits if not exponent else f"{digits[:-exponent]}.{digits[-exponent:]}")


def worth_minor(sat: int, price_minor: int) -> int:
    """What satoshi are in minor units at the price of one bitcoin, rounded toward zero."""
    minor = abs(sat) * price_minor // SAT_PER_BTC
    return minor if sat >= 0 else -minor


def e4_text(e4: int, currency: str) -> str:
    """Ten-thousandths of a minor unit to decimal text, exactly: all digits of the currency, and further ones where there are any."""
    exponent = exponent_of(currency)
    digits = str(e4).rjust(exponent + 5, "0")
    whole, fraction = digits[: -exponent - 4], digits[-exponent - 4 :]
    fraction = fraction[:exponent] + fraction[exponent:].rstrip("0")
    return whole + (f".{fraction}" if fraction else "")


def btc_text(sat: int) -> str:
    """Satoshi as bitcoin with eight digits: 15924 is "0.00015924"."""
    digits = str(abs(sat)).rjust(9, "0")
    return ("-" if sat < 0 else "") + f"{digits[:-8]}.{digits[-8:]}"


def price_to_minor(price: str | Decimal | Fraction, currency: str) -> int:
    """A source's price of one bitcoin to minor units, rounded down: a lower price never asks the payer for too little.

    Raises Refused("invalid_price") when it is not a positive finite number.
    """
    try:
        value = Decimal(price) if isinstance(price, str) else price
    except ArithmeticError:
        raise Refused("invalid_price", "The price is not a number.") from None
    if (isinstance(value, Decimal) and not value.is_finite()) or not 0 < value < MAX_MINOR:
        raise Refused("invalid_price", "The price must be a positive finite number.")
    # Not before it is known to be small: an exact fraction of 1e-999999999 would take all memory.
    minor = 0 if value < _SMALLEST_PRICE else floor(Fraction(value) * 10 ** exponent_of(currency))
    if minor < 1:
        raise Refused("invalid_price", "The price is below one minor unit.")
    return minor


def exact_text(value: Fraction) -> str:
    """A fraction as decimal text where it has an end ("78.2267"), else as it is ("1/3")."""
    for places in range(_MOST_PLACES):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = str(scaled.numerator).rjust(places + 1, "0")
            return digits if not places else f"{digits[:-places]}.{digits[-places:]}"
    return str(value)


def check_sat(value: object, *, field: str = "amount_sat") -> int:
    """A satoshi amount that an outside world handed us: an int within 0 and 21 million bitcoin. Raises
    Refused("invalid_satoshi").
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_MONEY_SAT:
        raise Refused("invalid_satoshi", "Expected whole satoshi between 0 and 21 million bitcoin.", field=field)
    return value
