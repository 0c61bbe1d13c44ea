"""The headers that every answer carries.

Owns what a browser may do with our pages; must not differ between states of an invoice.
"""

from flask import Flask, Response, request

from bridge.web.look import look


def content_security_policy(style_sha256: str) -> str:
    """Nothing from elsewhere, nothing inline; the one style block of our own pages is named by its hash."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'sha256-{style_sha256}'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def register(app: Flask) -> None:
    """Adds the headers after every request, errors included."""
    policy = content_security_policy(look(app).style_sha256)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        if request.endpoint == "static" and response.status_code == 200:
            # The address carries the content's hash, so a new version has a new address.
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-store"
        return response
