"""From a plan to a store: what is to run, the runs on workers, and what became of them."""
