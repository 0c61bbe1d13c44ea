"""The optional callback signature: exact bytes, constant answers, two secrets while one rotates."""

import base64
import hashlib
import hmac

import pytest

from bridge.core.errors import Refused
from bridge.rails.subtc.wire import CallbackSignature

BODY = b'{"reached":true}'
OLD, NEW = b"the old secret", b"the new secret"


def signed(secret: bytes, encoding: str = "hex", body: bytes = BODY) -> str:
    digest = hmac.new(secret, body, hashlib.sha256).digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("secret", [OLD, NEW])
def test_the_current_and_the_previous_secret_are_accepted(encoding: str, secret: bytes) -> None:
    check = CallbackSignature(header="X-Signature", secrets=[NEW, OLD], encoding=encoding, prefix="sha256=")
    check.check({"x-SIGNATURE": "sha256=" + signed(secret, encoding)}, BODY)


@pytest.mark.parametrize(
    "header",
    [
        "",
        signed(b"another"),
        signed(NEW, body=BODY + b" "),
        signed(NEW)[:-2],
        "zz",
        "é",
        "ab" * 10_000,
        signed(NEW, "base64"),
    ],
)
def test_anything_else_is_a_bad_signature(header: str) -> None:
    check = CallbackSignature(header="X-Signature", secrets=[NEW, OLD])
    for headers in ({"X-Signature": header}, {"X-Other": signed(NEW)}, {}):
        with pytest.raises(Refused) as refusal:
            check.check(headers, BODY)
        assert refusal.value.code == "bad_signature"


def test_a_check_that_could_accept_everything_cannot_be_made() -> None:
    for options in (
        {"secrets": []},
        {"secrets": [b""]},
        {"secrets": [NEW], "encoding": "rot13"},
        {"header": "", "secrets": [NEW]},
    ):
        with pytest.raises(ValueError):
            CallbackSignature(**{"header": "X-Signature", **options})  # type: ignore[arg-type]


def test_secrets_are_not_shown() -> None:
    assert "secret" in repr(CallbackSignature(header="X", secrets=[NEW]))
    assert "new" not in repr(CallbackSignature(header="X", secrets=[NEW]))
