"""The data store in a bucket: values and arrays, by the hash of their content."""

from hashlib import file_digest
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile, gettempdir
from typing import IO

from metta.sweep.contracts.blobs import Hashed, Write
from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.data import NAME, WAY_OUT, written
from metta.sweep.stores.ledgers import told
from metta.sweep.stores.objects import Objects


class ObjectData:
    """Blobs below a name; whoever puts the same bytes twice gets the same name.

    ::

        data/<first two digits>/<hash>.<suffix>

    Args:
        objects: Where they lie.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def store(self) -> str:
        """Address of the store that they belong to."""
        return self._objects.uri()

    def put(self, suffix: str, write: Write) -> str:
        """Keep what a function writes; nothing else sees it before it is complete.

        Args:
            suffix: End of its name, lower-case letters.
            write: Is called once, with a file to write to; it lies in the folder for temporary files first.

        Returns:
            Its name.

        Raises:
            StoreFull: When there is no room, there or here.
            StoreError: When it cannot be written for another reason.
        """
        with told(Path(gettempdir()), "written"), NamedTemporaryFile() as file:
            stream = Hashed(file)
            written(stream, write)
            file.flush()
            name = stream.name(suffix)
            # one of another size was damaged
            if self._objects.size(self._key(name)) != stream.size:
                self._objects.upload(self._key(name), Path(file.name))
            return name

    def uri(self, name: str) -> str:
        """Where a blob lies, or would.

        Raises:
            StoreError: When nothing of that name can be here.
        """
        return self._objects.uri(self._key(name))

    def open(self, name: str) -> IO[bytes]:
        """A file to read from, which the caller closes; a copy that is gone then.

        Raises:
            StoreError: When it is missing, damaged or cannot be read.
        """
        key = self._key(name)
        with told(Path(gettempdir()), "written"):
            file = TemporaryFile()  # noqa: SIM115 # the caller's
            try:
                if not self._objects.download(key, file):
                    raise StoreError(f"{name} is missing: there is no {self.uri(name)}; {WAY_OUT}")
                file.seek(0)
                if file_digest(file, "sha256").hexdigest() != name.partition(".")[0]:
                    raise StoreError(
                        f"{name} is damaged: {self.uri(name)} has another content by now; {WAY_OUT}"
                    )
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return file

    def _key(self, name: str) -> str:
        if not NAME.fullmatch(name):
            raise StoreError(f"{name!r:.100} names nothing in a data store")
        return f"data/{name[:2]}/{name}"
