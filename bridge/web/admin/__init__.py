"""The operators' pages under /admin: server-rendered.

Owns who gets in, what is shown and which flow a form calls; must not decide anything, the flows do.
"""

from bridge.web.admin import forms, pages
from bridge.web.admin.door import routes

__all__ = ["forms", "pages", "routes"]
