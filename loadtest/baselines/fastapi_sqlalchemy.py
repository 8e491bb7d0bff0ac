"""FastAPI, SQLAlchemy's ORM and asyncpg: a session and an INSERT a request."""

import os
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, FastAPI
from sqlalchemy import DateTime, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from loadtest.baselines import POOL_CONNECTIONS
from service.events import DEFAULT_SITE, EVENT_TYPES, AnyEvent, new_event_id


class Base(DeclarativeBase):
    """What SQLAlchemy knows of the schema."""


class Event(Base):
    """A row of the table events."""

    __tablename__ = "events"

    timestamp: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger)
    user_id: Mapped[str] = mapped_column(Text)
    event_type: Mapped[str] = mapped_column(ENUM(*EVENT_TYPES, name="event_type"))
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)


engine = create_async_engine(
    os.environ.get("DATABASE_URL", "postgresql://").replace("://", "+asyncpg://", 1),
    pool_size=POOL_CONNECTIONS,
    max_overflow=0,
)
Session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


@app.post("/events", status_code=202)
async def post_event(sent: Annotated[AnyEvent, Body()]) -> dict[str, Any]:
    """Store an event, then answer."""
    milliseconds = time.time_ns() // 1_000_000
    event = Event(
        timestamp=datetime.fromtimestamp(milliseconds / 1000, UTC),
        event_id=UUID(bytes=new_event_id(milliseconds)),
        site_id=DEFAULT_SITE,
        user_id=sent["user_id"],
        event_type=sent["event_type"],
        payload=sent["payload"],
    )
    async with Session() as session, session.begin():
        session.add(event)
    return {"event_id": event.event_id, "timestamp": event.timestamp}
