"""The codes of ISO 4217: what is billed today, what is history, what is no currency that anybody pays in.

Owns the table and who may still be billed in what; must not know an amount, `core.money` does.

The table is data taken over by hand from list one of the maintenance agency (SIX Financial Information), published 2026-01-01;
its publication of 2026-09-17 has the same 178 codes. A library would bring neither the codes that are history nor what
came after them, and a release of it could change what old invoices mean. When the agency publishes an amendment: move what is
withdrawn to FORMER, keep its decimals in KEPT, add what is new.
"""

from collections.abc import Collection
from difflib import get_close_matches

from bridge.core.errors import Refused

_CURRENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE"
    " CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR"
    " KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB"
    " PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY"
    " TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
CURRENT: dict[str, int] = {code: exponent for exponent, codes in _CURRENT.items() for code in codes.split()}

# Funds codes, units of account, metals, and the codes for tests and for no currency: the standard has them, payers do not.
_NOT_MONEY = "BOV CHE CHW CLF COU MXV USN UYI UYW XAD XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"
NOT_MONEY = frozenset(_NOT_MONEY.split())

# What is history, what came instead and when: the codes that people and old price lists still use.
FORMER: dict[str, tuple[str, str]] = {
    "ANG": ("XCG", "2025-03-31"),
    "AZM": ("AZN", "2006-01-01"),
    "BGN": ("EUR", "2026-01-01"),
    "BYR": ("BYN", "2016-07-01"),
    "CUC": ("CUP", "2021-01-01"),
    "CYP": ("EUR", "2008-01-01"),
    "EEK": ("EUR", "2011-01-01"),
    "GHC": ("GHS", "2007-07-01"),
    "HRK": ("EUR", "2023-01-01"),
    "LTL": ("EUR", "2015-01-01"),
    "LVL": ("EUR", "2014-01-01"),
    "MRO": ("MRU", "2018-01-01"),
    "MTL": ("EUR", "2008-01-01"),
    "MZM": ("MZN", "2006-07-01"),
    "ROL": ("RON", "2005-07-01"),
    "RUR": ("RUB", "1998-01-01"),
    "SIT": ("EUR", "2007-01-01"),
    "SKK": ("EUR", "2009-01-01"),
    "SLL": ("SLE", "2022-07-01"),
    "STD": ("STN", "2018-01-01"),
    "TMM": ("TMT", "2009-01-01"),
    "TRL": ("TRY", "2005-01-01"),
    "VEF": ("VES", "2018-08-20"),
    "ZMK": ("ZMW", "2013-01-01"),
    "ZWL": ("ZWG", "2024-06-25"),
}

# Not billed any more, but invoices were: they stay readable, exportable and refundable for ever.
KEPT: dict[str, int] = {"BGN": 2, "CLF": 4, "UYW": 4}


def check_billable(currency: str) -> None:
    """Raises Refused (former_currency, unbillable_currency, unknown_currency) for what no new invoice can be in."""
    if currency in CURRENT:
        return
    if currency in FORMER:
        successor, since = FORMER[currency]
        detail = f"{currency} was replaced by {successor} on {since}: take {successor}."
        raise Refused("former_currency", detail, field="currency")
    if currency in NOT_MONEY:
        detail = f"{currency} is a unit of account, a metal or a test code: take a currency that people pay in."
        raise Refused("unbillable_currency", detail, field="currency")
    raise unknown(currency)


def check_taken(currency: str, taken: Collection[str]) -> None:
    """What a merchant who takes `taken` opens an invoice in: Refused as above, or `unsupported_currency`."""
    if currency not in taken and currency not in FORMER:
        raise Refused("unsupported_currency", f"This merchant does not take {currency[:8]}.", field="currency")
    check_billable(currency)


def unknown(currency: str) -> Refused:
    """The refusal of a code that the standard does not have."""
    near = get_close_matches(currency[:8].upper(), CURRENT, n=1)
    meant = f" Is {near[0]} meant?" if near else ""
    return Refused("unknown_currency", f"The currency {currency[:8]!r} is not known.{meant}", field="currency")
