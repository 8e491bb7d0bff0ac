"""The page of client/ in a headless Chromium."""
