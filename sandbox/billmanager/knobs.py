"""Owns the switches for what the contract leaves unproved. It must not hold faults, which are counted."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(kw_only=True)
class Knobs:
    """Every switchable assumption (BILLmanager contract 16, 18); the defaults are BILLmanager 6 as far as known."""

    version: int = 6
    plugin_names: str = "tolerant"  # or "strict": a description's file must be named as the plugin in it
    extra_environment: dict[str, str] = field(default_factory=dict)  # what modules and CGI scripts get besides
    setpaid_on_cancelled: str = "credit"  # or "error"
    setpaid_again: str = "ok"  # or "error"
    setnopay_status: int = 1
    info_for_clients: bool = False
    text_error_rc: int = 1
    module_rc_matters: bool = True
    module_timeout_s: float = 30.0
    module_cwd: str = "base"  # or "root"
    cgi_mode: str = "tolerant"  # or "strict"
    cgi_timeout_s: float = 60.0
    cgi_cwd: str = "base"  # or "cgi" or "root"
    cgi_content_length: str = "normal"  # or "http_only"
    cgi_content_headers: str = "http"  # or "bare": Content-Foo arrives as CONTENT_FOO
    cgi_https: str = "auto"  # or "on" / "off"
    cookie_suffix: str = ""  # appended to the session in the login cookie, e.g. ":dragon"
    json_arrays: bool = False  # honour is_json_array="yes" in JSON answers
    authinfo_allow: str = ""  # comma list of addresses and networks; empty lets everybody
    forwarded_secret: str = ""
    login_key_once: bool = False
    session_idle_s: int = 3600
    checkpay_overlap: bool = True

    def change(self, wanted: dict[str, Any]) -> None:
        """Set some knobs. Raises KeyError for an unknown one and TypeError for a wrong type."""
        kinds = {each.name: type(getattr(self, each.name)) for each in fields(self)}
        for name, value in wanted.items():
            kind = kinds[name]
            if kind is float and isinstance(value, int):
                value = float(value)
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be {kind.__name__}")
            setattr(self, name, value)
