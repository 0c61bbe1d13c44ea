"""Every sentence a client may read on our pages, in English and Russian.

Owns wording; must not format markup. Error texts of the settings form live in etc/xml, where BILLmanager looks.
"""

from __future__ import annotations

TEXTS = {
    "bad_request": {
        "en": ("The link is not complete", "Go back to your payments in the panel and press Pay again."),
        "ru": ("Ссылка неполная", "Вернитесь к списку платежей в панели и нажмите «Оплатить» ещё раз."),
    },
    "sign_in": {
        "en": (
            "Please sign in",
            "Your session has ended. Sign in to the panel, open your payments and press Pay again.",
        ),
        "ru": (
            "Войдите в панель",
            "Сеанс завершён. Войдите в панель, откройте список платежей и нажмите «Оплатить» ещё раз.",
        ),
    },
    "not_yours": {
        "en": (
            "This payment is not available",
            "Open the list of your payments in the panel and choose the payment there.",
        ),
        "ru": ("Платёж недоступен", "Откройте список своих платежей в панели и выберите платёж там."),
    },
    "not_payable": {
        "en": (
            "This payment cannot be paid now",
            "It is being credited, refunded or deleted. Look at its status in the panel; support can tell you more.",
        ),
        "ru": (
            "Сейчас этот платёж оплатить нельзя",
            "Он зачисляется, возвращается или удаляется. Посмотрите его статус в панели или обратитесь в поддержку.",
        ),
    },
    "try_later": {
        "en": (
            "Bitcoin payment is not available for the moment",
            "Nothing was charged and nothing is lost. Wait a minute and reload this page. "
            "If you have already sent bitcoin, it will be credited by itself.",
        ),
        "ru": (
            "Оплата биткоином временно недоступна",
            "Ничего не списано и ничего не потеряно. Подождите минуту и обновите страницу. "
            "Если вы уже отправили биткоин, он будет зачислен автоматически.",
        ),
    },
    "refused": {
        "en": (
            "This payment cannot be paid in Bitcoin",
            "Do not send bitcoin for it. Choose another payment method or write to support and name the number below.",
        ),
        "ru": (
            "Этот платёж нельзя оплатить биткоином",
            "Не отправляйте биткоин. Выберите другой способ оплаты или напишите в поддержку и назовите номер ниже.",
        ),
    },
    "too_small": {
        "en": (
            "The sum is too small for Bitcoin",
            "Nothing was charged. Open your payments, press Pay and choose another payment method, "
            "or add a larger sum to your balance.",
        ),
        "ru": (
            "Сумма слишком мала для оплаты биткоином",
            "Ничего не списано. Откройте список платежей, нажмите «Оплатить» и выберите другой способ оплаты "
            "или пополните баланс на большую сумму.",
        ),
    },
    "too_large": {
        "en": (
            "The sum is too large for Bitcoin",
            "Nothing was charged. Open your payments, press Pay and choose another payment method, "
            "or write to support.",
        ),
        "ru": (
            "Сумма слишком велика для оплаты биткоином",
            "Ничего не списано. Откройте список платежей, нажмите «Оплатить» и выберите другой способ оплаты "
            "или напишите в поддержку.",
        ),
    },
    "changed": {
        "en": (
            "The payment was changed after money arrived",
            "Do not send more bitcoin. Your money is safe; write to support and name the number below.",
        ),
        "ru": (
            "Платёж изменён после поступления денег",
            "Больше не отправляйте биткоин. Деньги в сохранности; напишите в поддержку и назовите номер ниже.",
        ),
    },
    "to_pay_page": {"en": ("Go to the payment page", ""), "ru": ("Перейти на страницу оплаты", "")},
    "to_payments": {"en": ("To your payments", ""), "ru": ("К списку платежей", "")},
    "to_panel": {"en": ("Back to the panel", ""), "ru": ("Вернуться в панель", "")},
}


def say(name: str, language: str) -> tuple[str, str]:
    """Title and advice."""
    return TEXTS[name].get(language) or TEXTS[name]["en"]
