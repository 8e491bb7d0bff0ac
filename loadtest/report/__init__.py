"""What a run leaves: figures, plots, a page."""
