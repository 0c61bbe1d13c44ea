"""The queries of the API for policy versions, strictly typed.

Owns their shape; bodies are `desk_bodies.ReasonBody`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bridge.web.bodies import Whole


class VersionsQuery(BaseModel):
    """Which page of the versions: those older than the version `before`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    limit: Annotated[Whole, Field(ge=1, le=200)] = 50
    before: Annotated[Whole, Field(ge=1, le=2_147_483_647)] | None = None
