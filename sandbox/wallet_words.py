"""What the sandbox's wallet page says, in English and Russian.

Must not know what it is said about. A text without an entry is said as it is.
"""

from __future__ import annotations

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Payer's wallet", "Кошелёк плательщика"),
    "pretend": (
        "A stand-in for the wallet of whoever pays. Its coins come from nowhere and are worth nothing.",
        "Заменяет кошелёк того, кто платит. Монеты здесь берутся из ниоткуда и ничего не стоят.",
    ),
    "request": ("Payment request", "Запрос на оплату"),
    "request_hint": (
        "Paste the link of “Open in wallet”, or take the newest address the gateway gave out.",
        "Вставьте ссылку «Открыть в кошельке» или возьмите последний адрес, который выдал шлюз.",
    ),
    "read": ("Read the request", "Прочитать запрос"),
    "newest": ("Newest requests", "Последние запросы"),
    "nothing": (
        "Nothing was asked for yet. Order something in the client panel and choose Bitcoin.",
        "Пока ничего не запрошено. Закажите что-нибудь в панели клиента и выберите Bitcoin.",
    ),
    "to": ("To", "Кому"),
    "no_sum": ("without an amount", "без суммы"),
    "pay": ("Pay", "Заплатить"),
    "lightning": ("Pay over Lightning", "Заплатить через Lightning"),
    "arrived": ("arrived over Lightning", "пришло через Lightning"),
    "held": ("held by the receiver's node", "удерживается узлом получателя"),
    "pay90": ("Pay 90 %", "Заплатить 90 %"),
    "pay110": ("Pay 110 %", "Заплатить 110 %"),
    "twice": ("Pay twice", "Заплатить дважды"),
    "bump": ("Speed up (replace with a higher fee)", "Ускорить (заменить с большей комиссией)"),
    "back": ("Take back (replace to another address)", "Забрать назад (заменить на другой адрес)"),
    "sent": ("Sent to this address", "Отправлено на этот адрес"),
    "none_sent": ("Nothing yet.", "Пока ничего."),
    "unconfirmed": ("unconfirmed", "не подтверждено"),
    "confirmations": ("confirmations:", "подтверждений:"),
    "chain": ("The network", "Сеть"),
    "height": ("Height", "Высота"),
    "mine": ("Mine a block", "Добыть блок"),
    "mine6": ("Mine 6 blocks", "Добыть 6 блоков"),
    "reorg": ("Take the last block back", "Отменить последний блок"),
    "use": ("Open bitcoin: links here", "Открывать ссылки bitcoin: здесь"),
    "use_hint": (
        "Then “Open in wallet” on the pay page leads to this wallet, in this browser.",
        "Тогда «Открыть в кошельке» на странице оплаты ведёт в этот кошелёк, в этом браузере.",
    ),
    "the link names no amount": ("The link names no amount.", "В ссылке нет суммы."),
    "the link has no Lightning invoice": (
        "The link has no Lightning invoice.",
        "В ссылке нет счёта Lightning.",
    ),
    "no such invoice here": (
        "This Lightning invoice is of no node here.",
        "Этот счёт Lightning выставлен не здешним узлом.",
    ),
    "no payment request": ("This is no Lightning invoice.", "Это не счёт Lightning."),
    "this invoice is success": ("This invoice was paid already.", "Этот счёт уже оплачен."),
    "this invoice is held": ("This invoice is being paid already.", "Этот счёт уже оплачивается."),
    "this invoice is failed": ("This invoice can not be paid any more.", "Этот счёт больше нельзя оплатить."),
    "this invoice has expired": ("This invoice has expired.", "Срок этого счёта истёк."),
    "nothing of this wallet waits unconfirmed": (
        "Nothing to this address waits unconfirmed.",
        "Неподтверждённых платежей на этот адрес нет.",
    ),
    "the amount in the link is not a number": ("The amount in the link is not a number.", "Сумма в ссылке не число."),
    "the amount in the link is impossible": ("The amount in the link is impossible.", "Такой суммы не бывает."),
    "wrong checksum": ("The address was mistyped.", "Адрес введён с ошибкой."),
    "neither bech32 of this net nor base58": (
        "This is not an address of this network.",
        "Это не адрес этой сети.",
    ),
    "an address of another net": ("This address is of another network.", "Это адрес другой сети."),
    "no such action": ("There is no such action.", "Такого действия нет."),
}


def say(name: str, lang: str) -> str:
    """The words for `name` in `lang`, English when that is not ours."""
    english, russian = _WORDS.get(name, (name, name))
    return russian if lang == "ru" else english
