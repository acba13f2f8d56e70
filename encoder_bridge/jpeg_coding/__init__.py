"""Baseline JPEG from given coefficients (ITU-T T.81): what libjpeg's own quantiser does not offer a caller."""
