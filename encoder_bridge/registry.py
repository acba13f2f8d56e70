"""One registry type for codecs, metrics and maps: adding one is a class in a file plus one registration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from encoder_bridge.errors import ConfigError, ToolNotFoundError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to factories. Third-party packages join through the entry-point group ``machine_rdo.<kind>s``.

    Such a package is imported when its name is asked for, so that a broken one hurts nobody else.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._offered: dict[str, EntryPoint] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: make the object available as ``name``; a name may be taken only once."""

        def add(item: T) -> T:
            if name in self._items:
                raise ConfigError(f"{self.kind} {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def get(self, name: str) -> T:
        """The object registered as ``name``.

        Raises ConfigError with the known names otherwise, ToolNotFoundError where its package cannot be imported.
        """
        if name not in self._items and name in self._discovered():
            self._items[name] = self._load(self._discovered()[name])
        if name not in self._items:
            raise ConfigError(
                f"unknown {self.kind.replace('_', ' ')} {name!r}; known: {', '.join(self.shown()) or '(none)'}"
            )
        return self._items[name]

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted({*self._items, *self._discovered()})

    def shown(self) -> list[str]:
        """Names for users: all but those whose object says that it is ``hidden``."""
        return [name for name in self.names() if not getattr(self._items.get(name), "hidden", False)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _discovered(self) -> dict[str, EntryPoint]:
        if self._offered is None:
            self._offered = {point.name: point for point in entry_points(group=f"machine_rdo.{self.kind}s")}
        return self._offered

    def _load(self, point: EntryPoint) -> T:
        try:
            item: T = point.load()
        except (Exception, SystemExit) as error:  # a foreign package may do anything when it is imported
            package = point.dist.name if point.dist is not None else point.value
            raise ToolNotFoundError(
                f"{self.kind} {point.name!r} of package {package} cannot be imported: {type(error).__name__}: {error}; "
                "mend or remove that package"
            ) from error
        return item
