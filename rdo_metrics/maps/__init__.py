"""Maps: side information from a network, one file each. Import registers the built-in ones."""

from encoder_bridge.config import MapConfig
from rdo_metrics.maps import attribution, both, fisher, kl
from rdo_metrics.maps.base import MAPS, Map, MapContext
from rdo_metrics.maps.file import FileMap
from rdo_metrics.maps.learned import LearnedMap

__all__ = ["MAPS", "FileMap", "LearnedMap", "Map", "MapContext", "attribution", "both", "fisher", "kl", "make_map"]


def make_map(config: MapConfig) -> Map:
    """The map a configuration names: a registered one, or a ``.npy`` file.

    Raises ConfigError on an unknown name, MetricInputError on a file that holds no weights.
    """
    if config.name.endswith(".npy"):
        return FileMap(config.name, sigma=config.sigma)
    return MAPS.get(config.name)(sigma=config.sigma)
