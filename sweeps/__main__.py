"""``python -m sweeps`` is ``mrdo``."""

from sweeps.cli import main

main()
