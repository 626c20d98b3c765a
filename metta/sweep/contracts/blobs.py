"""Blobs: bytes that are kept under the hash of their content."""

import io
from collections.abc import Callable
from hashlib import sha256
from typing import IO, Protocol


class Hashed(io.BufferedIOBase):
    """A file to write to that knows the hash of what was written.

    Args:
        file: What the bytes go on to; None when only their hash is wanted.

    Attributes:
        size: So many bytes were written.
        error: Why writing failed; libraries may have raised an error of their own over it.
    """

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file, self._digest = file, sha256()
        self.size = 0
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, data: "bytes | bytearray | memoryview[int]", /) -> int:  # type: ignore[override] # no mmap
        """Write bytes.

        Raises:
            OSError: When the file cannot be written to.
        """
        size = memoryview(data).nbytes
        self._digest.update(data)
        try:
            if self._file is not None:
                self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.size += size
        return size

    def tell(self) -> int:
        """Where the next byte goes."""
        return self.size

    def name(self, suffix: str) -> str:
        """The name under which its bytes are kept.

        >>> Hashed().name("json")[:8], Hashed().name("json")[-8:]
        ('e3b0c442', '855.json')
        """
        return f"{self._digest.hexdigest()}.{suffix}"


Write = Callable[[Hashed], object]
"""Writes the bytes of a blob."""


class Blobs(Protocol):
    """Where blobs are kept."""

    @property
    def store(self) -> str:
        """Address of the store that they belong to."""
        ...

    def put(self, suffix: str, write: Write) -> str:
        """Keep what a function writes.

        Args:
            suffix: End of its name, which says what is inside: ``npy``.
            write: Is called once, with a file to write to.

        Returns:
            Its name: the hash of the content, and the suffix.
        """
        ...

    def open(self, name: str) -> IO[bytes]:
        """A file to read from, which the caller closes."""
        ...
