"""One file over HTTP: goes on after a cut connection, checks the hash, keeps the part when the disk is full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pooch
import requests

from pano_med.formats import make_folder

#: Seconds to connect and to wait for the next bytes.
TIMEOUT = (15, 60)
#: How often a cut connection is taken up again before giving up; counted anew whenever bytes came.
TRIES = 4
#: At most so many bytes are lost by a cut.
_CHUNK = 2**14
#: Told (bytes so far, bytes in all or None) now and then.
OnBytes = Callable[[int, int | None], None]

pooch.get_logger().setLevel("WARNING")  # what it would say we say in our own words


class NotFetched(OSError):
    """The file cannot be had now; the message says why and whether the part is kept."""


def size_of(url: str) -> int | None:
    """Bytes that a server says the file has, or None where it does not say or cannot be asked."""
    with suppress(requests.RequestException):
        answer = requests.head(url, timeout=TIMEOUT, allow_redirects=True)
        length = answer.headers.get("Content-Length", "")
        return int(length) if answer.ok and length.isdigit() and int(length) else None
    return None


def download(
    url: str, path: Path, sha256: str | None = None, size: int | None = None, on_bytes: OnBytes | None = None
) -> str:
    """Fetch `url` into `path`. What came before a cut stays beside it as NAME.part and is not fetched again.

    Args:
        url: http or https.
        path: the file; an existing one with the right hash is taken as it is.
        sha256: what the file must have, or None if nobody published it.
        size: bytes that the card announces, or None; a server that sends more is cut off.
        on_bytes: told how far it is.

    Returns:
        The sha256 of the file.

    Raises:
        NotFetched: no connection, an answer that is no file, a wrong hash, too many bytes, a full disk.
    """
    if not url.startswith(("http://", "https://")):
        raise NotFetched(f"a download has an http or https address, {path.name} has {url!r}; mend the card")
    make_folder(path.parent)
    fetcher = _Resuming(path, sha256 is not None, size, on_bytes)
    try:
        pooch.retrieve(url, f"sha256:{sha256}" if sha256 else None, path.name, path.parent, downloader=fetcher)
    except ValueError:  # pooch has removed the file already
        raise NotFetched(
            f"{path.name} from {url} has not the sha256 of its card ({sha256}), so it was deleted unopened; it was "
            "damaged on the way or has been replaced by its publisher: try again, then ask the card's maintainer"
        ) from None
    except OSError as error:
        if isinstance(error, NotFetched) or error.errno is None:
            raise
        raise NotFetched(f"{path} cannot be written: {error.strerror}") from error
    return sha256 or str(pooch.file_hash(str(path)))


class _Resuming:
    """A downloader for pooch: `NAME.part` grows until all is there, then takes the place that pooch wants."""

    def __init__(self, path: Path, hashed: bool, size: int | None, on_bytes: OnBytes | None) -> None:
        self.part, self.tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
        self.hashed, self.size, self.on_bytes = hashed, size, on_bytes or (lambda done, total: None)

    def __call__(self, url: str, output_file: str, _: Any, check_only: bool = False) -> None:
        left, why = TRIES, ""
        while left:
            before = self._done()
            try:
                if self._go_on(url):
                    os.replace(self.part, output_file)
                    self.tag.unlink(missing_ok=True)
                    return
                why = "the connection was cut"
            except requests.RequestException as error:
                why = _plain(error)
            left = TRIES - 1 if self._done() > before else left - 1
            if left:
                time.sleep(min(0.2 * 3 ** (TRIES - 1 - left), 5))
        raise NotFetched(f"{url} could not be fetched: {why}; {self._kept()}")

    def _go_on(self, url: str) -> bool:
        """Fetch what is missing; False where the connection ended too early."""
        done, head = self._done(), {"Accept-Encoding": "identity"}
        tag = self._tag(url)
        if done and (tag or self.hashed):  # with If-Range another version of the file comes whole; else the hash tells
            head |= {"Range": f"bytes={done}-"} | ({"If-Range": tag} if tag else {})
        with requests.get(url, headers=head, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing is missing, or the part is longer than the file
                whole = answer.headers.get("Content-Range") == f"bytes */{done}"
                self.part.unlink() if not whole else None
                return whole
            if answer.status_code not in (200, 206):
                raise NotFetched(f"{url} could not be fetched: the server answers {answer.status_code} {answer.reason}")
            if answer.status_code == 200:
                done = 0
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
                raise NotFetched(f"{url} could not be fetched: asked for the rest, the server sends another piece")
            length = answer.headers.get("Content-Length")
            total = done + int(length) if length and length.isdecimal() else None
            self._announced(url, total, done)
            self._write(answer, url, done, total)
        return total is None or self._done() == total

    def _announced(self, url: str, total: int | None, done: int) -> None:
        if total is not None and self.size is not None and total > self.size:
            raise NotFetched(f"{url} was not fetched: it is {total} bytes, its card announces {self.size}")
        free = shutil.disk_usage(self.part.parent).free
        if (total or self.size or 0) - done > free:
            raise NotFetched(
                f"{url} needs {(total or self.size or 0) - done} more bytes in {self.part.parent}, {free} are free; "
                f"make room or choose another folder; {self._kept()}"
            )

    def _write(self, answer: requests.Response, url: str, done: int, total: int | None) -> None:
        tags = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified")]
        tag = next((t for t in tags if t and not t.startswith("W/")), "")  # a weak one does not vouch for bytes
        try:
            self.tag.write_text(json.dumps({"url": url, "tag": tag}), encoding="utf-8")
            with self.part.open("ab" if done else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if self.size is not None and done > self.size:
                        raise NotFetched(f"{url} was cut off: it sends more than the {self.size} bytes of its card")
                    self.on_bytes(done, total or self.size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise NotFetched(
                f"the disk is full, so {url} stopped; free some space and try again; {self._kept()}"
            ) from error

    def _tag(self, url: str) -> str:
        with suppress(OSError, ValueError):
            note: Mapping[str, str] = json.loads(self.tag.read_text(encoding="utf-8"))
            return note["tag"] if note["url"] == url else ""
        return ""

    def _done(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _kept(self) -> str:
        done = self._done()
        return f"{done} bytes are kept in {self.part.name}, the next try goes on from there" if done else "nothing came"


def _plain(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server (offline, a wrong address, or a proxy)"
    return " ".join(str(error).split())
