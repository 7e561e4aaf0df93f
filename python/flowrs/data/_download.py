"""Fetches a file over HTTP: resumed where it was cut off, checked, and moved into place whole."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path

from flowrs._terminal import Progress, format_bytes
from flowrs.errors import ArgumentError, DownloadError

_CHUNK = 1 << 18
_SECONDS_WITHOUT_DATA = 30.0
_MOST_CONNECTIONS = 5


def download(url: str, destination: Path, sha256: str) -> None:
    """Fetches a file unless it exists.

    What has arrived is kept beside the destination, as ``<name>.part``, until it is complete;
    a later call goes on from there. Of several processes that want the same file, one fetches
    it and the others wait (where the system has file locks).

    Args:
        url: an address that begins with http:// or https://.
        destination: the file to make; its folder is made too.
        sha256: the checksum of the whole file, 64 hexadecimal digits.

    Raises:
        ArgumentError: the address is of another kind.
        DownloadError: the server cannot be reached or answers with an error, the connection
            keeps breaking, the checksum differs, or the file cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise ArgumentError(f"url must begin with http:// or https://, not {url!r}")
    partial = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _open_alone(partial, destination) as file:
            if file is None:
                return
            found = _fetch_all(url, file, sha256)
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # an open file cannot be renamed there
            if found != sha256:
                partial.unlink()
                raise DownloadError(
                    f"{url} has the sha256 {found}, expected {sha256}; nothing was kept"
                )
            os.replace(partial, destination)
            _sync_folder(destination.parent)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"cannot write {destination}: {error}") from error


@contextlib.contextmanager
def _open_alone(partial: Path, destination: Path) -> Iterator[BufferedRandom | None]:
    """Opens the partial file for appending, locked; None when the whole file is there by then."""
    while True:
        with partial.open("a+b") as file:
            _lock(file)
            if destination.exists():
                # Another process has finished it, perhaps while this one waited for the lock.
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                        partial.unlink()
                yield None
                return
            try:
                still_there = os.path.samestat(os.fstat(file.fileno()), partial.stat())
            except FileNotFoundError:
                still_there = False
            if still_there:
                try:
                    yield file
                finally:
                    _drop_if_empty(file, partial)
                return


def _drop_if_empty(file: BufferedRandom, partial: Path) -> None:
    if not file.closed and os.fstat(file.fileno()).st_size == 0:
        with contextlib.suppress(OSError):
            partial.unlink()


def _lock(file: BufferedRandom) -> None:
    try:
        import fcntl
    except ImportError:
        return  # a system without these locks: the checksum still keeps damage out
    with contextlib.suppress(OSError):  # some network file systems have none
        fcntl.flock(file, fcntl.LOCK_EX)


def _fetch_all(url: str, file: BufferedRandom, sha256: str) -> str:
    """Completes the file and returns its checksum."""
    found = _sha256(file)
    if found == sha256:
        return found
    resumed = _fetch(url, file)
    found = _sha256(file)
    if found != sha256 and resumed:
        # The beginning came from another version of the file: once more, from the start.
        file.truncate(0)
        _fetch(url, file)
        found = _sha256(file)
    return found


def _fetch(url: str, file: BufferedRandom) -> bool:
    """Appends what is missing; returns whether the file's beginning is from an earlier call."""
    resumed = os.fstat(file.fileno()).st_size > 0
    name = url.rsplit("/", 1)[-1] or url
    connections = 0
    while True:
        connections += 1
        before = os.fstat(file.fileno()).st_size
        try:
            with _connect(url, before) as response:
                start, total = _range_of(response, before)
                if start == 0:
                    resumed = False
                    file.truncate(0)
                _append(response, file, start, total, name)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, DownloadError):
                raise
            raise DownloadError(f"cannot download {url}: {_reason(error)}") from error
        size = os.fstat(file.fileno()).st_size
        if total is None or size >= total:
            return resumed
        if size <= before or connections == _MOST_CONNECTIONS:
            raise DownloadError(
                f"{url} broke off after {format_bytes(size)} of {format_bytes(total)} "
                f"({connections} connections); what has come is kept: try again to go on from there"
            )


def _connect(url: str, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "flowrs"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            request, timeout=_SECONDS_WITHOUT_DATA
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            # There is nothing after what is kept: it is complete, or from another version.
            return _connect(url, 0)
        raise
    return response


def _range_of(response: http.client.HTTPResponse, wanted: int) -> tuple[int, int | None]:
    """The position at which the answer's bytes begin, and the size of the whole file."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        described = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", described.strip())
        if match is None or int(match[1]) != wanted:
            raise ValueError(f"the server sent the range {described!r}, asked was {wanted}-")
        return wanted, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length is not None and length.isdecimal() else None


def _append(
    response: http.client.HTTPResponse,
    file: BufferedRandom,
    start: int,
    total: int | None,
    name: str,
) -> None:
    received = start
    with Progress(f"downloading {name}", total, unit="B") as progress:
        progress.update(received)
        while True:
            try:
                piece = response.read(_CHUNK)
            except (http.client.IncompleteRead, ConnectionError, TimeoutError):
                break  # the caller sees from the size that something is missing
            if not piece:
                break
            file.write(piece)
            received += len(piece)
            progress.update(received)
        file.flush()


def _sha256(file: BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    # Makes the new name durable; systems that cannot open a folder do without.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
