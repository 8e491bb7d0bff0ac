"""The location: given, refused, not known, and where the browser has none."""

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.support import BERLIN, Demo

pytestmark = pytest.mark.browser

NOTHING = "Nothing was sent."


def test_a_location_that_is_given_is_stored(context: BrowserContext, demo: Demo) -> None:
    context.grant_permissions(["geolocation"])
    context.set_geolocation(BERLIN)
    demo.open().expect_stored(1)
    demo.locate()
    demo.expect_said("The location was stored")
    assert demo.rows()[1:] == [("location", BERLIN)]


def test_a_location_that_is_refused_is_told_and_not_stored(
    context: BrowserContext, demo: Demo
) -> None:
    context.clear_permissions()
    demo.open().expect_stored(1)
    demo.locate()
    demo.expect_said(f"The location was refused. {NOTHING}")
    demo.expect_stored(1)
    assert demo.types() == ["view"]


def test_a_location_that_is_not_known_is_told_and_not_stored(
    context: BrowserContext, demo: Demo
) -> None:
    context.grant_permissions(["geolocation"])
    context.set_geolocation(None)
    demo.open().expect_stored(1)
    demo.locate()
    demo.expect_said("The location is not known")
    demo.expect_said(NOTHING)
    assert demo.types() == ["view"]


def test_a_browser_without_locations_is_told_so(context: BrowserContext, demo: Demo) -> None:
    context.add_init_script("delete Navigator.prototype.geolocation")
    demo.open().expect_stored(1)
    demo.locate()
    demo.expect_said(f"This browser has no location. {NOTHING}")
    demo.click()
    demo.expect_stored(2)
    assert demo.types() == ["view", "click"]
