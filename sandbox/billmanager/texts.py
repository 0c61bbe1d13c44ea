"""Owns the built-in words of the core in English and Russian. It must not hold a module's words."""

from __future__ import annotations

import re
from collections.abc import Mapping

ERRORS = {
    "en": {
        "value": "The value of the field '__object__' is wrong. __value__",
        "missed": "'__object__' is missing or does not exist. __value__",
        "exists": "'__object__' already exists. __value__",
        "access": "You have no right to do '__object__'",
        "auth": "Invalid username or password",
        "module": "The module '__object__' failed. __value__",
    },
    "ru": {
        "value": "Поле «__object__» имеет недопустимое значение. __value__",
        "missed": "«__object__» отсутствует или не существует. __value__",
        "exists": "«__object__» уже существует. __value__",
        "access": "Недостаточно прав для «__object__»",
        "auth": "Неверное имя пользователя или пароль",
        "module": "Сбой модуля «__object__». __value__",
    },
}

STATUSES: dict[int, tuple[str, str, str]] = {
    0: ("gray", "Unknown", "Неизвестен"),
    1: ("gray", "New", "Новый"),
    2: ("blue", "In payment", "Оплачивается"),
    3: ("blue", "Promised", "Обещанный"),
    4: ("green", "Paid", "Зачислен"),
    5: ("yellow", "Awaiting refund", "Ожидает возврата"),
    6: ("yellow", "Refunded", "Возвращён"),
    7: ("red", "Fraudulent", "Мошеннический"),
    8: ("blue", "Initiated", "Инициирован"),
    9: ("red", "Canceled", "Отменён"),
    100: ("gray", "Deleting", "Удаляется"),
}

_MARK = re.compile(r"__([A-Za-z0-9_]+?)__")


def status_text(status: int, lang: str) -> str:
    """The name of a payment status."""
    return STATUSES[status][2 if lang == "ru" else 1]


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put parameters in place of `__name__`; unknown marks become empty (BILLmanager contract 3)."""
    return _MARK.sub(lambda found: values.get(found.group(1), ""), template).strip()


def error_template(kind: str, lang: str, custom: Mapping[str, str]) -> str:
    """The text for an error type: the module's own `msg_error_<type>`, else a built-in one, else the bare type."""
    own = custom.get(f"msg_error_{kind}")
    return own or ERRORS.get(lang, ERRORS["en"]).get(kind) or f"{kind} __value__"
