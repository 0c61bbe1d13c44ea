"""Asks all price sources at once and returns what they answered.

Owns the asking, its time limit and a short memory; must not judge the samples, `core.quote` does.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from datetime import datetime, timedelta
from threading import Lock
from typing import Protocol

from bridge.core.errors import BridgeError
from bridge.core.evidence import Sample

log = logging.getLogger(__name__)


class Source(Protocol):
    """One place that knows a price."""

    @property
    def name(self) -> str: ...

    def price(self, currency: str, now: datetime) -> Sample: ...

    def close(self) -> None: ...


class RateReader:
    """Threads may share it: those that ask for one currency at the same time get one round of questions.

    `keep_seconds` is how long an answer is given again; a sample keeps its own time, so its age stays honest.
    """

    def __init__(self, sources: Sequence[Source], *, keep_seconds: int = 15, timeout_seconds: float = 6):
        if len({source.name for source in sources}) != len(sources):
            raise ValueError("price sources need different names")
        self._sources = tuple(sources)
        self._keep = timedelta(seconds=keep_seconds)
        self._timeout_seconds = timeout_seconds
        self._kept: dict[str, tuple[datetime, tuple[Sample, ...]]] = {}
        self._locks: dict[str, Lock] = {}

    def sample(self, currency: str, now: datetime) -> tuple[Sample, ...]:
        """What the sources say now, in their configured order. Sources that fail are missing and logged."""
        with self._locks.setdefault(currency, Lock()):
            kept = self._kept.get(currency)
            if kept is not None and timedelta(0) <= now - kept[0] < self._keep:
                return kept[1]
            samples = self._ask(currency, now)
            if samples:
                self._kept[currency] = (now, samples)
            return samples

    def close(self) -> None:
        """Drop every source's connections."""
        for source in self._sources:
            source.close()

    def _ask(self, currency: str, now: datetime) -> tuple[Sample, ...]:
        if not self._sources:
            return ()
        # An executor per round, because one made at import would not survive the fork of a web server.
        executor = ThreadPoolExecutor(max_workers=len(self._sources), thread_name_prefix="rates")
        asked = [(source, executor.submit(copy_context().run, source.price, currency, now)) for source in self._sources]
        wait([future for _, future in asked], timeout=self._timeout_seconds)
        executor.shutdown(wait=False, cancel_futures=True)
        answers = [self._answer(source, future, currency) for source, future in asked]
        return tuple(answer for answer in answers if answer is not None)

    def _answer(self, source: Source, future: Future[Sample], currency: str) -> Sample | None:
        code, detail = "price_timeout", ""
        if future.done():
            try:
                return future.result()
            except BridgeError as error:
                code, detail = error.code, error.detail
        if code != "price_missing":  # that source was never meant for this currency
            fields = {"action": "price_source_failed", "source": source.name, "currency": currency, "code": code}
            log.warning("a price source failed", extra=fields | {"detail": detail})
        return None
