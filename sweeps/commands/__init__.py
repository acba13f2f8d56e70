"""One file per command of the main job, each with a click command named ``command``."""
