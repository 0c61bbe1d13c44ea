"""The payment module's own small package: everything the three scripts under paymethods/ and cgi/ share.

Owns the module's behaviour on the billing host; must not import anything outside the standard library.
Values are named tuples: BILLmanager starts a Python per call, and dataclasses alone take one 20 ms to import.
"""

__version__ = "1.0.0"
MODULE = "pmsubtc"
