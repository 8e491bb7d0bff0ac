"""How many events a second are kept, by the service and by others, and what an event costs."""
