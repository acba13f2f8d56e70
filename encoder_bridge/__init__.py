"""Frames in, streams out: drives real encoders and lets a plugin into their rate-distortion decisions."""
