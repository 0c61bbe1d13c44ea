"""What the payer's pages may be given to show of a shop: the shapes of links, colours and lines.

Owns the shapes and their words; must not know where a value comes from.
"""

import re

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
