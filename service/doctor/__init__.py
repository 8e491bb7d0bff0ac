"""`python -m service doctor`: whether a set-up is sound, and what to do where it is not."""

from service.doctor.examination import examine
from service.doctor.findings import Finding, Status, show

__all__ = ["Finding", "Status", "examine", "show"]
