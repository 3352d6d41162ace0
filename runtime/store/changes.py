"""What a store says of changes: those that other machines make, and those since the files of a catalogue were made."""

from collections.abc import Sequence
from typing import Protocol

from runtime.store.records import Changes, Content, FilesChanges, FilesMark


class ChangeFeed(Protocol):
    """What other machines change in a database that several share. One reader; raises StoreError."""

    async def changes(self) -> Changes:
        """Content that changed since the changes that were last reported as `done`, in whatever order."""
        ...

    def done(self, changes: Changes) -> None:
        """These are in memory: continue after them."""
        ...

    async def contents(self, ids: Sequence[str]) -> list[Content]:
        """Those of `ids` that exist."""
        ...

    async def engaged(self) -> list[str]:
        """Content of the events that the log has got since the last call; some of it may come again."""
        ...

    async def wait(self, longest_s: float) -> None:
        """Return when content may have changed, at the latest after `longest_s`."""
        ...

    async def wait_for_experiments(self, longest_s: float) -> None:
        """Return when something may have been done to an experiment, at the latest after `longest_s`."""
        ...


class CatalogLog(Protocol):
    """What changed of the content since the files of one catalogue were in step with it. Raises StoreError."""

    # Whether the store lets no other process use the folder in which the files are
    alone: bool

    def change(self) -> int:
        """At once: the number that rows get which are put into the files now. It only rises, and what is put after a
        mark has a higher one, or is among what changed since."""
        ...

    async def begin(self) -> None:
        """From here on list what changes, for new files."""
        ...

    async def since(self, mark: FilesMark, bundle_digest: str, most: int) -> FilesChanges | str:
        """What was put, hidden, shown or deleted since a mark, or why that is not known, as with more than `most`. The
        numbers continue above the mark's."""
        ...

    async def mark(self) -> FilesMark:
        """Where files are in step that hold everything that was put so far."""
        ...

    async def done(self, mark: FilesMark) -> None:
        """The files are in step up to this mark, durably: what changed before need not be listed any more."""
        ...

    async def end(self) -> None:
        """There are no files."""
        ...

    async def contents(self, ids: Sequence[str]) -> list[Content]:
        """Those of `ids` that exist."""
        ...
