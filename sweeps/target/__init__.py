"""Choice of configuration: the lowest rate at a wanted accuracy, found with few encodes."""
