"""Metrics that judge the candidate reconstructions of a CTU."""
