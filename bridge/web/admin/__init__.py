"""The operators' pages under /admin: server-rendered, one file per subject.

Owns who gets in, what is shown and which flow a form calls; must not decide anything, the flows do.
"""

from bridge.web.admin import deliveries, forms, invoices, login, money, people, policy, records, reviews, today
from bridge.web.admin.door import NEEDS, register, routes

__all__ = [
    "NEEDS",
    "deliveries",
    "forms",
    "invoices",
    "login",
    "money",
    "people",
    "policy",
    "records",
    "register",
    "reviews",
    "routes",
    "today",
]
