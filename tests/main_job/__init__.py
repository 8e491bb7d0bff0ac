"""The main job: scripts/run, from a clean clone on."""
