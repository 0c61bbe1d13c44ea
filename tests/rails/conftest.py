"""The worlds of the flow tests, for the contract of rails."""

from tests.flows.conftest import worlds

__all__ = ["worlds"]
