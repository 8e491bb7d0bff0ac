"""Which users a run has: those with a task left by --tags and --exclude-tags."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from locust.env import Environment

Task = TypeVar("Task", bound=Callable[..., Any])


def requests(*endpoints: str) -> Callable[[Task], Task]:
    """Say which endpoints a task requests, as in `POST /events`."""

    def mark(task: Task) -> Task:
        task.endpoints = endpoints  # type: ignore[attr-defined]
        return task

    return mark


def endpoints(environment: Environment, options: Mapping[str, Any]) -> set[str]:
    """Return what the run's users request."""
    return {
        endpoint
        for user in environment.user_classes
        for task in user.tasks
        if _is_chosen(task, options)
        for endpoint in getattr(task, "endpoints", ())
    }


def drop_users_without_tasks(environment: Environment, options: Mapping[str, Any]) -> None:
    """Leave out users for whom tags leave nothing to do; Locust would start them, and fail."""
    environment.user_classes[:] = [
        user
        for user in environment.user_classes
        if any(_is_chosen(task, options) for task in user.tasks)
    ]


def writes(environment: Environment) -> bool:
    """Return whether the run has users that send events."""
    return any("ingest" in _tags(task) for user in environment.user_classes for task in user.tasks)


def _is_chosen(task: object, options: Mapping[str, Any]) -> bool:
    wanted, unwanted = set(options["tags"] or ()), set(options["exclude_tags"] or ())
    tags = _tags(task)
    return (not wanted or bool(tags & wanted)) and not tags & unwanted


def _tags(task: object) -> set[str]:
    tags: set[str] = getattr(task, "locust_tag_set", set())
    return tags
