"""The queries of the API for policy versions, strictly typed.

Owns their shape; bodies are `desk_bodies.ReasonBody`.
"""

from typing import Annotated

from pydantic import Field

from bridge.web.bodies import Body, Whole
from bridge.web.desk_bodies import Limit


class VersionsQuery(Body):
    """Which page of the versions: those older than the version `before`."""

    limit: Limit = 50
    before: Annotated[Whole, Field(ge=1, le=2_147_483_647)] | None = None
