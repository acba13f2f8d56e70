"""One self-contained HTML page of a result store: curves, BD-rates, pictures. Nothing in it asks a network for more."""
