"""Long runs with faults at random moments, compared by content at the end."""
