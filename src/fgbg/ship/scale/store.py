"""Photos and tables beyond this machine's disks, wherever pyarrow has a file system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow
from pyarrow import fs

from fgbg.errors import UserError, first_line


@dataclass(frozen=True)
class Store:
    """A file system, and the place on it that was named.

    Attributes:
        name: As the user wrote it, without a password.
        filesystem: The file system, which workers open as well.
        top: The file or folder on it that was named.
    """

    name: str
    filesystem: fs.FileSystem
    top: str

    def list_files(self) -> list[fs.FileInfo]:
        """All files at or below `top` by path, hidden ones left out.

        Raises:
            UserError: There is no such place, or it cannot be reached.
        """
        try:
            (about,) = self.filesystem.get_file_info([self.top])
            if about.type == fs.FileType.NotFound:
                raise UserError(f"{self.name} does not exist: check it")
            below = fs.FileSelector(self.top, recursive=True)
            found = [about] if about.is_file else self.filesystem.get_file_info(below)
        except (OSError, pyarrow.ArrowException) as error:
            raise _cannot_reach(self.name, error) from None
        files = [info for info in found if info.is_file and not _is_hidden(self.place(info))]
        return sorted(files, key=lambda info: info.path)

    def place(self, info: fs.FileInfo) -> PurePosixPath:
        """A file's path relative to `top`; empty for `top` itself."""
        return PurePosixPath(info.path).relative_to(self.top)

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            UserError: The store can no longer be reached.
            OSError: This file cannot be read, or is not there.
        """
        try:
            with self.filesystem.open_input_file(path) as file:
                return bytes(file.read())
        except OSError as error:
            if self._is_there():
                raise
            told = f"{self.name} cannot be reached any more ({first_line(error)})"
            raise UserError(_hide_password(f"{told}: run the same command again, it goes on from here")) from None

    def _is_there(self) -> bool:
        try:
            (about,) = self.filesystem.get_file_info([self.top])
        except OSError:
            return False
        return bool(about.type != fs.FileType.NotFound)


def open_store(name: str) -> Store:
    """The store at an address, or the local disk for a path.

    Raises:
        UserError: No file system is known for the address, or it cannot be reached.
    """
    address = name if "://" in name else Path(name).expanduser().absolute().as_uri()
    try:
        filesystem, top = fs.FileSystem.from_uri(address)
    except (OSError, pyarrow.ArrowException) as error:
        raise _cannot_reach(name, error) from None
    return Store(_hide_password(name), filesystem, top)


def _cannot_reach(name: str, error: Exception) -> UserError:
    return UserError(_hide_password(f"{name} cannot be reached ({first_line(error)}): check it, and your access to it"))


def _hide_password(text: str) -> str:
    """The text, without what precedes the @ of an address."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _is_hidden(place: PurePosixPath) -> bool:
    """Whether a part of the path begins like the names of notes and unfinished files."""
    return any(part.startswith((".", "_")) for part in place.parts)
