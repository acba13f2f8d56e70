"""One file per codec; importing this package registers them all."""

from encoder_bridge.encoders import x265 as x265
