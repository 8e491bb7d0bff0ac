"""What fails a run: conservation, errors, times."""
