"""The payment module's own small package: everything the three scripts under paymethods/ and cgi/ share.

Owns the module's behaviour on the billing host; must not import anything outside the standard library.
Values are named tuples: BILLmanager starts a Python per call, and dataclasses alone take one 20 ms to import.
"""

import sys

__version__ = "1.0.0"
MODULE = "pmsubtc"

# In words that every Python reads: one that is too old must not end in a SyntaxError of whatever comes next.
if sys.version_info < (3, 8):
    raise SystemExit("pmsubtc needs Python 3.8 or newer, this is %d.%d: make install finds one" % sys.version_info[:2])
