"""Files of a real nginx through the proxy, fetched with a real curl: byte for byte, whatever the way behind is."""

import gzip
import hashlib
import os
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Stage

MEBI = 1 << 20
LARGE = 64 * MEBI
GROWTH_MOST = 32 * MEBI
TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 200


@pytest.fixture(scope="module")
def files(stage: Stage) -> Stage:
    """A text, something binary, and something large."""
    (stage.nginx.files / "text.txt").write_bytes(TEXT)
    (stage.nginx.files / "data.bin").write_bytes(bytes(range(256)) * 1000)
    return stage


@pytest.fixture(scope="module")
def large(stage: Stage) -> Iterator[Path]:
    """A file of 64 MiB that nginx serves; gone afterwards."""
    block = os.urandom(MEBI)
    file = stage.nginx.files / "large.bin"
    with file.open("wb") as out:
        for _ in range(LARGE // MEBI):
            out.write(block)
    yield file
    file.unlink()


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@pytest.mark.parametrize("way", ["http", "https", "unix", "open"])
def test_a_file_arrives_as_it_is(files: Stage, way: str) -> None:
    """A file is the same over http, over verified https and over a unix socket, with its length, type and ETag."""
    got = files.curl(f"/{way}/data.bin")
    assert got.status == 200
    assert got.body == bytes(range(256)) * 1000
    assert got.field("content-length") == "256000"
    assert got.field("content-type") == "application/octet-stream"
    assert got.field("etag")
    assert got.field("server").startswith("nginx")
    assert got.field("x-request-id")


def test_what_was_not_modified_is_not_sent(files: Stage) -> None:
    """A 304 passes by its ETag and by its date, without a body."""
    first = files.curl("/http/text.txt")
    assert first.status == 200
    for condition in (
        f"If-None-Match: {first.field('etag')}",
        f"If-Modified-Since: {first.field('last-modified')}",
    ):
        again = files.curl("/http/text.txt", "--header", condition)
        assert (again.status, again.body) == (304, b"")
        assert again.field("etag") == first.field("etag")


def test_ranges_pass(files: Stage) -> None:
    """A range, and several, come as nginx cuts them; one that cannot be is 416."""
    part = files.curl("/http/data.bin", "--range", "1000-1999")
    assert (part.status, part.body) == (206, (bytes(range(256)) * 1000)[1000:2000])
    assert part.field("content-range") == "bytes 1000-1999/256000"
    several = files.curl("/http/data.bin", "--range", "0-9,100-109")
    assert several.status == 206
    assert several.field("content-type").startswith("multipart/byteranges")
    assert files.curl("/http/data.bin", "--range", "999999-").status == 416


def test_compressed_bytes_pass_untouched(files: Stage) -> None:
    """What the backend compressed arrives compressed, and is never decompressed on the way."""
    got = files.curl("/http/text.txt", "--header", "Accept-Encoding: gzip")
    assert got.field("content-encoding") == "gzip"
    assert gzip.decompress(got.body) == TEXT
    assert files.curl("/http/text.txt").body == TEXT


def test_answers_without_a_body_leave_the_connection_usable(files: Stage) -> None:
    """HEAD tells what GET would bring; after it, and after a 304, the same connection serves the next request."""
    connection = HTTPConnection("127.0.0.1", files.served.ports[0], timeout=5)
    headers = {"Authorization": f"Bearer {files.issuer.token(groups=['eng'])}"}
    seen = []
    for method, more in (
        ("HEAD", {}),
        ("GET", {}),
        ("GET", {"If-None-Match": "*"}),
        ("HEAD", {}),
        ("GET", {}),
    ):
        connection.request(method, "/http/data.bin", headers={**headers, **more})
        sock, answer = connection.sock, connection.getresponse()
        seen.append((answer.status, answer.getheader("Content-Length"), len(answer.read())))
        assert connection.sock is sock
    connection.close()
    head, get = (200, "256000", 0), (200, "256000", 256_000)
    assert seen == [head, get, (304, None, 0), head, get]


def test_errors_and_redirects_are_the_backend_s(files: Stage) -> None:
    """A 404 and a redirect of the backend pass as they are; nothing is followed."""
    missing = files.curl("/http/missing")
    assert missing.status == 404
    assert b"nginx" in missing.body
    moved = files.curl("/http/moved")
    assert (moved.status, moved.field("location")) == (301, "http://elsewhere.test/")


def test_the_backend_is_told_who_asks(files: Stage) -> None:
    """The backend sees the identity and the client's Host, and no credential."""
    got = files.curl(
        "/http/whoami", "--header", "X-Forwarded-User: root", "--header", "Host: shop.test"
    )
    assert got.body == b"alice||shop.test|http"
    assert files.curl_tls("/https/whoami").body.startswith(b"alice||a.test")
    assert files.curl_tls("/https/whoami").body.endswith(b"|https")


@pytest.mark.parametrize(("way", "code"), [("unverified", 502), ("misnamed", 502), ("dead", 502)])
def test_a_backend_that_cannot_be_trusted_is_not_asked(files: Stage, way: str, code: int) -> None:
    """A certificate of an unknown authority, or for another name, is as good as nobody there: `upstream_unreachable`."""
    got = files.curl(f"/{way}/text.txt")
    assert (got.status, got.code) == (code, "upstream_unreachable")


def test_large_downloads_take_no_memory(files: Stage, large: Path) -> None:
    """64 MiB pass through byte for byte while the proxy's peak grows by less than 32 MiB, over TLS too."""
    before = files.served.peak()
    for got in (files.curl("/http/large.bin"), files.curl_tls("/https/large.bin")):
        assert got.status == 200
        assert hashlib.sha256(got.body).hexdigest() == digest(large)
    assert files.served.peak() - before < GROWTH_MOST


def test_a_client_that_reads_slowly_takes_no_memory(files: Stage, large: Path) -> None:
    """What a slow client does not take stays with the backend."""
    before = files.served.peak()
    got = files.curl("/http/large.bin", "--limit-rate", "1M", "--max-time", "1")
    assert got.exit_status == 28  # curl's own patience ended
    assert files.served.peak() - before < GROWTH_MOST


@pytest.mark.parametrize("chunked", [False, True])
def test_large_uploads_take_no_memory(files: Stage, large: Path, chunked: bool) -> None:
    """64 MiB land in nginx byte for byte, with a length or in chunks, while the proxy's peak grows by less than 32 MiB."""
    before = files.served.peak()
    options = ["--header", "Transfer-Encoding: chunked"] if chunked else []
    got = files.curl(f"/http/up/large-{chunked}.bin", "--upload-file", str(large), *options)
    landed = files.nginx.files / "up" / f"large-{chunked}.bin"
    assert got.status == 201
    assert digest(landed) == digest(large)
    landed.unlink()
    assert files.served.peak() - before < GROWTH_MOST


def test_an_upload_waits_for_leave(files: Stage) -> None:
    """With `Expect: 100-continue` curl is told to go on only once the request is admitted, and not when it is refused."""
    body = files.folder / "small.bin"
    body.write_bytes(b"x" * 2000)
    options = [
        "--upload-file",
        str(body),
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "5",
    ]
    got = files.curl("/http/up/small.bin", *options)
    assert got.status == 201
    assert "HTTP/1.1 100 Continue" in got.trace
    assert got.said["time_total"] < 4
    refused = files.curl("/http/up/refused.bin", *options, token="x")
    assert (refused.status, refused.code) == (401, "token_invalid")
    assert "100 Continue" not in refused.trace
    assert refused.said["size_upload"] == 0
    assert not (files.nginx.files / "up" / "refused.bin").exists()
