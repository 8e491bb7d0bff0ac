"""What Locust loads: who loads the service, and what is checked.

`locust --config loadtest/scenarios/mixed.conf`, or `loadtest/run mixed`, which also starts the
service and leaves a report: docs/load-testing.md.
"""

from locust import events

from loadtest.checks import hooks
from loadtest.options import add_options
from loadtest.users.traffic import prepare
from loadtest.users.users import Batcher, Blunderer, Reader, Resender, Sender, Visitor

__all__ = ["Batcher", "Blunderer", "Reader", "Resender", "Sender", "Visitor"]

events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(hooks.start)
events.init.add_listener(prepare)
