"""The shop that is visited: its pages, what can be clicked on them, and how popular they are."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from faker import Faker

from service.sample_data.draws import Draws, lottery, zipf

ORIGIN = "https://shop.example"
SHOP = "Fernwick"


@dataclass(eq=False, slots=True)
class Page:
    """A page: the payload of its view, and the payload of a click on each of its elements."""

    path: str
    title: str | None
    """None: this page sends no title."""
    view: bytes = b""
    links: list[tuple[bytes, "Page"]] = field(default_factory=list)
    """Clicks that lead to a page; one that is clicked more often is there more often."""
    controls: list[bytes] = field(default_factory=list)
    """Clicks that stay on the page."""

    def __post_init__(self) -> None:
        self.view = _json(url=ORIGIN + self.path, title=self.title)

    @property
    def name(self) -> str | None:
        """What a link to it says."""
        return self.title and self.title.removesuffix(f" · {SHOP}")

    def link(self, to: "Page", element_id: str | None, text: str | None, xpath: str) -> None:
        """Add an element that leads to a page."""
        self.links.append((_json(element_id=element_id, text=text, xpath=xpath), to))


_DEPARTMENTS = {
    "Kitchen": ("Teapot", "Bread Knife", "Salad Bowl", "Mortar", "Apron", "Carafe"),
    "Garden": ("Watering Can", "Trowel", "Planter", "Bird House", "Secateurs", "Lantern"),
    "Living": ("Armchair", "Side Table", "Rug", "Cushion", "Floor Lamp", "Bookcase"),
    "Bedroom": ("Duvet", "Pillow", "Nightstand", "Throw", "Mirror", "Wardrobe"),
    "Bath": ("Towel", "Soap Dish", "Bath Mat", "Laundry Basket", "Robe", "Stool"),
    "Office": ("Desk", "Desk Lamp", "Pen Tray", "Shelf", "Notebook", "Chair"),
}
PRODUCTS, STORIES = 240, 60

# Elements that stay on their page, by kind of page: id, text, XPath. None: it has no such thing.
_Element = tuple[str | None, str | None, str]
_CONTROLS: dict[str, tuple[_Element, ...]] = {
    "home": (
        ("hero-next", None, "//main/section[1]/button[2]"),
        ("newsletter-subscribe", "Subscribe", "//footer/form/button"),
        ("cookies-accept", "Accept all", "//div[@id='cookies']/button[1]"),
    ),
    "department": (
        ("sort-by-price", "Price", "//main/div[1]/select/option[2]"),
        ("filter-in-stock", "In stock", "//main/aside/label[1]/input"),
        (None, "Show more", "//main/section/button"),
    ),
    "product": (
        ("add-to-cart", "Add to cart", "//main/section[1]/form/button[1]"),
        ("add-to-cart", "Add to cart", "//main/section[1]/form/button[1]"),
        ("add-to-wishlist", None, "//main/section[1]/form/button[2]"),
        ("gallery-next", None, "//main/section[1]/figure/button[2]"),
        ("tab-reviews", "Reviews", "//main/section[2]/ul/li[2]/a"),
    ),
    "story": (
        ("share", "Share", "//article/footer/button[1]"),
        (None, "Read more", "//article/button"),
    ),
    "search": (("filter-in-stock", "In stock", "//main/aside/label[1]/input"),),
    "cart": (
        ("quantity-plus", "+", "//main/table/tbody/tr[1]/td[3]/button[2]"),
        ("remove-item", "Remove", "//main/table/tbody/tr[1]/td[5]/button"),
        ("apply-voucher", "Apply", "//main/form[2]/button"),
    ),
    "checkout": (
        ("pay-now", "Pay now", "//main/form/button[@type='submit']"),
        ("delivery-express", "Express delivery", "//main/form/fieldset[2]/label[2]/input"),
    ),
    "help": (("chat-open", "Chat with us", "//body/button[@id='chat-open']"),),
}


def build_site(faker: Faker, draws: Draws) -> list[Page]:
    """Return the pages on which visits begin, each as often as it is sought.

    The others are reached from them by links.
    """
    kinds = _pages(faker, draws)
    products, stories = kinds["product"], kinds["story"]
    for kind, pages in kinds.items():
        for page in pages:
            _add_controls(page, kind)
            _add_header(page, kinds["home"][0], kinds["department"], kinds["cart"][0])
    for department in kinds["department"]:
        inside = [page for page in products if page.path.startswith(f"{department.path}/")]
        _add_cards(department, "product", inside, draws)
    for name, pages, targets in (
        ("featured", kinds["home"], products),
        ("result", kinds["search"], products),
        (None, products, products),
        ("read-next", stories, stories),
    ):
        for page in pages:
            _add_cards(page, name, targets, draws)
    for _ in range(8):
        kinds["cart"][0].link(kinds["checkout"][0], "checkout", "Checkout", "//main/aside/a")
    return _entries(kinds)


def _pages(faker: Faker, draws: Draws) -> dict[str, list[Page]]:
    things = [thing for things in _DEPARTMENTS.values() for thing in things]
    return {
        "home": [Page("/", f"{SHOP} · For home and garden")],
        "department": [_page(name) for name in _DEPARTMENTS],
        "product": [_product(faker, draws, number) for number in range(1, PRODUCTS + 1)],
        "story": [_story(faker, number) for number in range(1, STORIES + 1)],
        "search": [Page(f"/search?q={_slug(thing).replace('-', '+')}", None) for thing in things],
        "cart": [_page("Cart")],
        "checkout": [_page("Checkout")],
        "help": [_page(name) for name in ("Delivery", "Returns", "Stores")],
    }


def _page(name: str) -> Page:
    return Page(f"/{_slug(name)}", _title(name))


def _product(faker: Faker, draws: Draws, number: int) -> Page:
    department = draws.choice(list(_DEPARTMENTS))
    name = f"{faker.last_name()} {draws.choice(_DEPARTMENTS[department])}"
    return Page(f"/{_slug(department)}/{_slug(name)}-{number}", _title(name))


def _story(faker: Faker, number: int) -> Page:
    kinds = ("At home with {}", "Meet the maker: {}", "The kitchen of {}", "A garden by {}")
    name = kinds[number % len(kinds)].format(faker.name())
    return Page(f"/stories/{_slug(name)}-{number}", _title(name))


def _add_controls(page: Page, kind: str) -> None:
    for element_id, text, xpath in _CONTROLS[kind]:
        page.controls.append(_json(element_id=element_id, text=text, xpath=xpath))


def _add_header(page: Page, home: Page, departments: Sequence[Page], cart: Page) -> None:
    page.link(home, "logo", SHOP, "//header/a")
    for place, target in enumerate([*departments, cart], start=1):
        page.link(target, f"nav-{target.path[1:]}", target.name, f"//header/nav/a[{place}]")


def _add_cards(page: Page, kind: str | None, pages: Sequence[Page], draws: Draws) -> None:
    chosen = dict.fromkeys(draws.choices(pages, zipf(len(pages)), k=12))
    chosen.pop(page, None)
    for place, target in enumerate(chosen, start=1):
        element_id = f"{kind}-{place}" if kind else None
        page.link(target, element_id, target.name, f"//main/section[2]/article[{place}]/a")


def _entries(kinds: dict[str, list[Page]]) -> list[Page]:
    shares = {"home": 26, "department": 14, "product": 36, "story": 14, "search": 7, "help": 3}
    return lottery(
        (
            (page, shares[kind] * weight / sum(zipf(len(kinds[kind]))))
            for kind in shares
            for page, weight in zip(kinds[kind], zipf(len(kinds[kind])), strict=True)
        ),
        tickets=8192,
    )


def _title(name: str) -> str:
    return f"{name} · {SHOP}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _json(**members: str | None) -> bytes:
    present = {name: value for name, value in members.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode()
