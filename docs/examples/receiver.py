"""A receiver of the bridge's events in one file, standard library only. Start: receiver.py PORT DATABASE SECRET [OLD_SECRET]"""

import base64
import hashlib
import hmac
import json
import sqlite3
import sys
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer


def is_genuine(headers, body, secrets):
    """Standard Webhooks: HMAC-SHA256 over id.timestamp.body, any of our secrets, at most five minutes old."""
    event_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
        return False
    signed = event_id.encode() + b"." + stamp.encode() + b"." + body
    wanted = [hmac.new(key_of(secret), signed, hashlib.sha256).digest() for secret in secrets]
    offered = [part[3:] for part in headers.get("webhook-signature", "").split() if part.startswith("v1,")]
    return any(hmac.compare_digest(base64.b64encode(w), o.encode()) for w in wanted for o in offered)


def key_of(secret):
    """What follows whsec_ is base64, whose last = may have been left out."""
    encoded = secret.removeprefix("whsec_").rstrip("=")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4))


def receive(database, headers, body, secrets):
    """The HTTP status to answer. 2xx: never again. 401, 409, 422: a person looks. 5xx: again later."""
    if not is_genuine(headers, body, secrets):
        return 401
    event = json.loads(body)
    invoice = event.get("invoice")
    # Only the absolute state counts, whatever the type is: events may come twice and, after a repeat, out of order.
    if invoice is None or invoice["status"] != "settled" or invoice["hold"]:
        return 200
    with database:  # one transaction
        order = database.execute(
            "SELECT price, currency, paid FROM orders WHERE id = ?", [invoice["billing_payment_id"]]
        ).fetchone()
        if order is None:
            return 409
        if (Decimal(order[0]), order[1]) != (Decimal(invoice["amount"]), invoice["currency"]):
            return 422
        if not order[2]:  # paid once is paid: the same news again changes nothing
            database.execute("UPDATE orders SET paid = ? WHERE id = ?", [invoice["id"], invoice["billing_payment_id"]])
    return 200


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        try:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = 413 if size > 65536 else receive(DATABASE, headers, self.rfile.read(size), sys.argv[3:])
        except Exception as defect:  # ours, not the bridge's: let it come again
            print(repr(defect), file=sys.stderr)
            status = 503
        self.send_response(status)
        self.end_headers()


if __name__ == "__main__":
    DATABASE = sqlite3.connect(sys.argv[2])
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
