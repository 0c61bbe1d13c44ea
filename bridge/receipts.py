"""Signing receipts and bundles of evidence with Ed25519, and checking them anywhere.

Owns the canonical form and the signature; must not know what a document says.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from bridge.core.errors import Refused

ALGORITHM = "Ed25519"


def canonical(document: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: JSON with sorted names, no spaces, UTF-8, without the member "signature"."""
    signed = {name: value for name, value in document.items() if name != "signature"}
    return json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class DocumentSigner:
    """One private key. `key_id` names its public half in every signature; `former` are public halves of earlier keys by theirs."""

    def __init__(self, pem: str, *, former: Iterable[str] = ()):
        """Raises ValueError when a text is no Ed25519 key in PEM; the text is never part of the error."""
        try:
            key = load_pem_private_key(pem.strip().encode() + b"\n", password=None)
        except (ValueError, TypeError) as error:
            raise ValueError("receipt_key is no private key in PEM without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("receipt_key is no Ed25519 key")
        self._key = key
        self.public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.key_id = key_id_of(key.public_key())
        self.former = {key_id_of(_public(each)): each.strip() + "\n" for each in former}

    def public_pem_for(self, document: Mapping[str, Any]) -> str:
        """The public key that the document's signature names when it was ours, else the one of today."""
        signature = document.get("signature")
        named = signature.get("key_id") if isinstance(signature, Mapping) else None
        return self.former.get(named, self.public_pem) if isinstance(named, str) else self.public_pem

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with its signature added."""
        value = base64.b64encode(self._key.sign(canonical(document))).decode()
        return dict(document) | {"signature": {"algorithm": ALGORITHM, "key_id": self.key_id, "value": value}}


def _public(pem: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem.strip().encode() + b"\n")
    except (ValueError, TypeError) as error:
        raise ValueError("receipt_keys_former: one is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("receipt_keys_former: one is no Ed25519 key")
    return key


def key_id_of(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def verify(document: Mapping[str, Any], public_pem: str) -> None:
    """Raises Refused("receipt_invalid") unless the document was signed by this key and nothing was changed since."""
    try:
        key = load_pem_public_key(public_pem.strip().encode() + b"\n")
        signature = document["signature"]
        if not isinstance(key, Ed25519PublicKey) or signature["algorithm"] != ALGORITHM:
            raise ValueError("not Ed25519")
        key.verify(base64.b64decode(signature["value"], validate=True), canonical(document))
    except (InvalidSignature, ValueError, KeyError, TypeError):
        raise Refused("receipt_invalid", "The signature does not fit this document and this key.") from None


def new_key() -> str:
    """A fresh private key in PEM, what `openssl genpkey -algorithm ed25519` writes too."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()
