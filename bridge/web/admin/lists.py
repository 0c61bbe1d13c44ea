"""What every list of the operators' pages shares: the filters of its address.

Owns reading them; must not query.
"""

from flask import request


def chosen(*names: str) -> dict[str, str]:
    """The filters that the address names, those left empty not."""
    return {name: request.args[name].strip()[:100] for name in names if request.args.get(name, "").strip()}
