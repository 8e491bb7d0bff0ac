"""Query parameters of reading: those of counting, and what chooses among events."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.analytics.parameters import CountQuery, Site, invalid_query, whole_number
from service.events import DEFAULT_SITE, UserId
from service.problems import FieldError, Problem
from service.reading.positions import Cursor

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class SiteQuery(BaseModel):
    """A site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Site = DEFAULT_SITE


class ChoiceQuery(CountQuery):
    """A range of time at a site, of one type of events or all, of one user or all."""

    user_id: Annotated[UserId | None, Field(description="Only events of this user")] = None

    def filters(self) -> dict[str, Any]:
        """Return the values of the statements' parameters but for the range."""
        return {"site": self.site, "user_id": self.user_id, "event_type": self.event_type}


class PageQuery(ChoiceQuery):
    """A page of events."""

    limit: Annotated[
        int,
        Field(ge=1, le=MAX_LIMIT, description="How many events at most", examples=[100]),
        BeforeValidator(whole_number),
    ] = DEFAULT_LIMIT
    cursor: Annotated[
        Cursor, Field(description="The `next` of the answer after which to go on")
    ] = None


class ExportQuery(ChoiceQuery):
    """A range of events in a format."""

    format: Annotated[
        Literal["ndjson", "csv"], Field(description="One JSON document a line, or CSV")
    ] = "ndjson"


@contextmanager
def nothing_read() -> Iterator[None]:
    """Let what is wrong with a query be answered in the words of reading."""
    try:
        yield
    except Problem as problem:
        raise replace(problem, detail="Nothing was read.") from None


def parse_event_id(text: str) -> UUID:
    """Return the id that a path names. Raises Problem."""
    if not _UUID.fullmatch(text):
        raise invalid_query([FieldError(field="event_id", message="Must be a UUID")])
    return UUID(text)
