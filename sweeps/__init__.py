"""From a plan to tables and pictures: runs, the result store, comparisons and the command line."""
