"""Query parameters: which user is meant."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.analytics.parameters import Site
from service.events import UserId
from service.problems import Problem


class UserQuery(BaseModel):
    """A user, at a site or at all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Annotated[UserId, Field(description="The user; in no path, so in no log")]
    site: Annotated[Site | None, Field(description="Only at this site; else at all")] = None

    def values(self) -> dict[str, Any]:
        """Return the values of the statements' parameters."""
        return {"user_id": self.user_id, "site": self.site}


@contextmanager
def nothing_done() -> Iterator[None]:
    """Let what is wrong with a query be answered in the words of these endpoints."""
    try:
        yield
    except Problem as problem:
        raise replace(problem, detail="Nothing was done.") from None
