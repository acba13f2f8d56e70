"""Networks robust to compression, one a coding configuration: progressive training and what it is compared with."""
