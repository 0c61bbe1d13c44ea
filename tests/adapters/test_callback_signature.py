"""The optional callback signature: exact bytes, constant answers, two secrets while one rotates."""

import base64
import hashlib
import hmac

import pytest

from bridge.rails.subtc.wire import CallbackSignature

BODY = b'{"reached":true}'
OLD, NEW = b"the old secret", b"the new secret"


def signed(secret: bytes, body: bytes = BODY) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_the_current_and_the_previous_secret_are_accepted(secret: bytes) -> None:
    check = CallbackSignature(header="X-Signature", secrets=[NEW, OLD])
    assert check.is_valid({"x-SIGNATURE": signed(secret)}, BODY)


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
        base64.b64encode(bytes.fromhex(signed(NEW))).decode(),
    ],
)
def test_anything_else_is_a_bad_signature(header: str) -> None:
    check = CallbackSignature(header="X-Signature", secrets=[NEW, OLD])
    for headers in ({"X-Signature": header}, {"X-Other": signed(NEW)}, {}):
        assert not check.is_valid(headers, BODY)


def test_a_check_that_could_accept_everything_cannot_be_made() -> None:
    for options in ({"secrets": []}, {"secrets": [b""]}, {"header": "", "secrets": [NEW]}):
        with pytest.raises(ValueError):
            CallbackSignature(**{"header": "X-Signature", **options})  # type: ignore[arg-type]


def test_secrets_are_not_shown() -> None:
    assert "secret" in repr(CallbackSignature(header="X", secrets=[NEW]))
    assert "new" not in repr(CallbackSignature(header="X", secrets=[NEW]))
