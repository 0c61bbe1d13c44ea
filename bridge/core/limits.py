"""What a setting may be, said on the rule that it is of: whoever reads the settings file checks them by it. What the payer's pages may
be given to show of a shop.

Owns the kinds of values and the shapes of links, colours and lines; must not check a rule that is made in code or read back from
the store.
"""

import re
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticKnownError


def _on_the_map(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {value!r}: take a name such as Europe/Moscow") from None
    return value


def _refused(_: Any) -> Any:
    raise PydanticKnownError("extra_forbidden")


def like(*examples: Any) -> Any:
    """What may stand in a field that no default shows: its fault names the first."""
    return Field(examples=list(examples))


Value = TypeVar("Value")

# Strict: neither "60" nor true is a number.
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(gt=0, strict=True)]
Bps = Annotated[int, Field(ge=0, le=10_000, strict=True)]
TimeZoneName = Annotated[str, AfterValidator(_on_the_map), like("Europe/Moscow")]
# A merchant, a stage: it stands in paths, labels and lists.
Label = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="a name of up to 32 small letters, digits, - and _"),
    like("main"),
]
# One mail address that means the same to everybody: nothing in it is quoted, encoded or empty.
MAIL_ADDRESS = r"^[A-Za-z0-9_+%'-]+(?:\.[A-Za-z0-9_+%'-]+)*@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*$"
LONGEST_MAIL_ADDRESS = 254
# A field of the rule that no file may name, and none shows.
Inner = Annotated[Value, BeforeValidator(_refused), Field(exclude=True), SkipJsonSchema()]


def require_rising(name: str, limits_sat: list[int]) -> None:
    """Raises ValueError unless each step of a ladder begins above the one before it."""
    if limits_sat != sorted(set(limits_sat)):
        raise ValueError(f"{name} must name rising up_to_sat limits")


_SHAPES = {
    "accent": (r"#[0-9a-fA-F]{6}", "a colour, # and six hexadecimal digits"),
    "support_url": (
        r"(https?://|mailto:)[^\s\"'<>]+",
        "an address that begins with https://, http:// or mailto:, without spaces, quotes, < and >",
    ),
    # The content security policy lets a page show pictures of its own server only.
    "logo_url": (
        r"(/[^/\s]|data:image/)[^\s\"'<>]*",
        "a path on this server that begins with one /, or data:image/…, without spaces, quotes, < and >",
    ),
    "explorer_url_template": (
        r"https?://[^\s\"'<>{}]+\{txid\}[^\s\"'<>{}]*",
        "an address that begins with https:// or http:// and has {txid} once",
    ),
    "note": (
        r"[^\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]{1,400}",
        "one line of at most 400 characters that can be seen",
    ),
    "language": (r"[a-z]{2,3}", "the code of a language in two or three small letters"),
}


def check_shown(kind: str, text: str) -> str:
    """The text, where it can be shown as that; else raises ValueError with what it must be."""
    shape, wanted = _SHAPES[kind]
    if not re.fullmatch(shape, text):
        raise ValueError(f"must be {wanted}")
    return text
