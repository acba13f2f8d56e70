"""C sources compiled into encoders, shipped as package data."""
