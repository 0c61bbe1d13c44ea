"""A BILLmanager that runs real module files in a throwaway tree. Imports nothing of ours outside the sandbox."""

from __future__ import annotations

from sandbox.billmanager.server import Running, create_app, make_core, serve_in_thread

__all__ = ["Running", "create_app", "make_core", "serve_in_thread"]
