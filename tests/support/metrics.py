"""What GET /metrics says, as a scraper reads it."""

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class Scrape:
    """The answer to one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """Return the samples of a name that bear the labels, and maybe more."""
        return [
            sample
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of these samples; 0 where there are none."""
        return sum(sample.value for sample in self.samples(name, **labels))

    def requests(self) -> dict[tuple[str, str, str], float]:
        """Return how many requests were counted, by route, method and status."""
        return {
            (one.labels["route"], one.labels["method"], one.labels["status"]): one.value
            for one in self.samples("tallymark_requests_total")
        }


def scrape(base_url: str | httpx.URL) -> Scrape:
    """Scrape a service, over a connection of its own."""
    answer = httpx.get(httpx.URL(base_url).join("/metrics"), timeout=20)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scrape(answer.raise_for_status().text)
