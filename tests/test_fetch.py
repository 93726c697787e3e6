"""The downloader against a server on this machine; never the internet."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minitorch_cnn.datasets._download import Checksum, RemoteFile, fetch

from .file_server import Page, Server
from .remote_files import names, sha256

CONTENT = np.random.default_rng(0).bytes(150_000)


def remote(*urls: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile("data.bin", urls, sha256(content))


def test_fetch_downloads_once(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    file, folder = remote(f"{server.url}/a"), tmp_path / "new" / "folder"
    assert fetch(file, folder) == folder / "data.bin"
    assert fetch(file, folder).read_bytes() == CONTENT
    assert names(folder) == ["data.bin"]
    assert server.requests == [("/a", None)]


def test_fetch_replaces_a_damaged_file(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_fetch_goes_on_where_it_was_cut_off(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:100_000])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=100000-")]
    assert names(tmp_path) == ["data.bin"]


def test_fetch_starts_over_where_the_server_cannot_go_on(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT, ranges=False)
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:100_000])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_fetch_starts_over_after_a_beginning_of_something_else(
    server: Server, tmp_path: Path
) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=1000-"), ("/a", None)]


@pytest.mark.parametrize("extra", [b"", b"too much"])
def test_fetch_knows_a_part_that_is_complete(server: Server, tmp_path: Path, extra: bytes) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin.part").write_bytes(CONTENT + extra)
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == (2 if extra else 1)


def test_fetch_tries_again_after_a_broken_connection(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT, cut=[70_000, 10_000])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=70000-", "bytes=80000-"]


def test_fetch_keeps_what_it_has_when_the_connection_keeps_breaking(
    server: Server, tmp_path: Path
) -> None:
    server.pages["/a"] = Page(CONTENT, cut=[1000] * 9)
    with pytest.raises(RuntimeError, match=r"ended after 3,000 of 150,000 bytes"):
        fetch(remote(f"{server.url}/a"), tmp_path)
    assert names(tmp_path) == ["data.bin.part"]
    server.pages["/a"] = Page(CONTENT)
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=3000-")


def test_fetch_tries_the_next_mirror(server: Server, tmp_path: Path) -> None:
    server.pages["/wrong"] = Page(b"<html>Sign in to the hotel's network</html>")
    server.pages["/broken"] = Page(b"", status=500)
    server.pages["/right"] = Page(CONTENT)
    urls = [f"{server.url}/{name}" for name in ("missing", "broken", "wrong", "right")]
    assert fetch(remote("ftp://127.0.0.1/x", *urls), tmp_path).read_bytes() == CONTENT


def test_fetch_says_what_every_mirror_answered_and_where_to_put_the_file(
    server: Server, tmp_path: Path
) -> None:
    server.pages["/wrong"] = Page(b"something else")
    file = remote(f"{server.url}/missing", f"{server.url}/wrong", "http://127.0.0.1:9/nobody")
    with pytest.raises(RuntimeError) as info:
        fetch(file, tmp_path)
    text = str(info.value)
    assert f"{server.url}/missing: HTTP Error 404" in text
    assert hashlib.sha256(b"something else").hexdigest() in text
    assert "127.0.0.1:9/nobody: [Errno" in text
    assert str(tmp_path / "data.bin") in text
    assert f"sha256 {file.checksum.digest}" in text
    assert names(tmp_path) == []


def test_fetch_takes_the_beginning_of_a_digest(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    whole = hashlib.sha256(CONTENT).hexdigest()
    for digest in (whole[:8], whole, ""):
        file = RemoteFile("data.bin", (f"{server.url}/a",), Checksum("sha256", digest))
        assert fetch(file, tmp_path / f"n{len(digest)}").read_bytes() == CONTENT
        fetch(file, tmp_path / f"n{len(digest)}")
    assert len(server.requests) == 3
    wrong = RemoteFile("data.bin", (f"{server.url}/a",), Checksum("sha256", "0123abcd"))
    with pytest.raises(RuntimeError, match=rf"expected sha256 beginning 0123abcd, found {whole}"):
        fetch(wrong, tmp_path / "n8")
    assert (tmp_path / "n8" / "data.bin").read_bytes() == CONTENT


def test_fetch_checks_what_is_inside_a_gzip(server: Server, tmp_path: Path) -> None:
    checksum = sha256(CONTENT, of_content=True)
    server.pages["/cut.gz"] = Page(gzip.compress(CONTENT)[:-20])
    server.pages["/9.gz"] = Page(gzip.compress(CONTENT, 9, mtime=1))
    cut = RemoteFile("d.gz", (f"{server.url}/cut.gz",), checksum)
    with pytest.raises(RuntimeError, match=r"of its content, found none \(broken gzip"):
        fetch(cut, tmp_path)
    whole = RemoteFile("d.gz", (f"{server.url}/9.gz",), checksum)
    assert gzip.decompress(fetch(whole, tmp_path).read_bytes()) == CONTENT


def run_fetch(url: str, folder: Path, before: str = "") -> subprocess.Popen[str]:
    code = f"""if True:
        import sys
        from pathlib import Path
        from minitorch_cnn.datasets._download import Checksum, RemoteFile, fetch
        {before}
        file = RemoteFile("data.bin", (sys.argv[1],), Checksum("sha256", sys.argv[2]))
        try:
            fetch(file, Path(sys.argv[3]))
        except OSError as error:
            print(error.errno, error.filename)
    """
    arguments = [url, hashlib.sha256(CONTENT).hexdigest(), str(folder)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], text=True, stdout=subprocess.PIPE
    )


def test_a_download_that_is_killed_leaves_no_broken_file(server: Server, tmp_path: Path) -> None:
    server.pages["/slow"] = Page(CONTENT, wait=0.02)
    part = tmp_path / "data.bin.part"
    process = run_fetch(f"{server.url}/slow", tmp_path)
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert names(tmp_path) == ["data.bin.part"]
    done = part.stat().st_size
    assert 0 < done < len(CONTENT)
    server.pages["/slow"] = Page(CONTENT)
    assert fetch(remote(f"{server.url}/slow"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/slow", f"bytes={done}-")


@pytest.mark.skipif(sys.platform == "win32", reason="no file-size limit to stand for a full disk")
def test_a_full_disk_is_an_oserror_with_the_files_name(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))"
    )
    process = run_fetch(f"{server.url}/a", tmp_path, limit)
    out, _ = process.communicate(timeout=60)
    assert out.split() == [str(errno.EFBIG), str(tmp_path / "data.bin.part")]
    assert not (tmp_path / "data.bin").exists()
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_two_downloads_of_one_file_wait_for_each_other(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT, wait=0.001)
    with ThreadPoolExecutor(16) as pool:  # many: each may meet the moment in which another ends
        for got in [pool.submit(fetch, remote(f"{server.url}/a"), tmp_path) for _ in range(16)]:
            assert got.result() == tmp_path / "data.bin"
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    if os.name == "posix":
        assert len(server.requests) == 1


def test_progress_is_drawn_on_a_terminal_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages["/a"] = Page(CONTENT)

    class Terminal(io.StringIO):
        def __init__(self, tty: bool) -> None:
            super().__init__()
            self.tty = tty

        def isatty(self) -> bool:
            return self.tty

    for tty in (False, True):
        stream = Terminal(tty)
        monkeypatch.setattr(sys, "stderr", stream)
        fetch(remote(f"{server.url}/a"), tmp_path / str(tty))
        assert ("data.bin" in stream.getvalue()) == tty
    monkeypatch.setitem(sys.modules, "rich.console", None)  # what an import finds without rich
    fetch(remote(f"{server.url}/a"), tmp_path / "without rich")
