"""Which users a run has: those with a task left by --tags and --exclude-tags."""

from collections.abc import Mapping
from typing import Any

from locust import User
from locust.env import Environment


def drop_users_without_tasks(environment: Environment, options: Mapping[str, Any]) -> None:
    """Leave out users for whom tags leave nothing to do; Locust would start them, and fail."""
    wanted, unwanted = set(options["tags"] or ()), set(options["exclude_tags"] or ())
    environment.user_classes[:] = [
        user
        for user in environment.user_classes
        if any(_is_chosen(tags, wanted, unwanted) for tags in _tags(user))
    ]


def writes(environment: Environment) -> bool:
    """Return whether the run has users that send events."""
    return any("ingest" in tags for user in environment.user_classes for tags in _tags(user))


def _tags(user: type[User]) -> list[set[str]]:
    return [getattr(task, "locust_tag_set", set()) for task in user.tasks]


def _is_chosen(tags: set[str], wanted: set[str], unwanted: set[str]) -> bool:
    return (not wanted or bool(tags & wanted)) and not tags & unwanted
