"""MNIST: where it is looked for, what is accepted, and how it is downloaded (from loopback)."""

import contextlib
import gzip
import hashlib
import http.server
import io
import re
import struct
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flowrs.data import _download, load_mnist, mnist
from flowrs.data._download import download
from flowrs.errors import ArgumentError, ArgumentTypeError, DataError, DownloadError

NAMES = mnist._IDX_NAMES


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No MNIST but the test's own, no proxy between a test and its server, no progress lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWRS_DATA_DIR", raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FLOWRS_PROGRESS", "0")


def arrays(train=60, test=20, seed=1):
    random = np.random.default_rng(seed)
    return {
        "x_train": random.integers(0, 256, (train, 28, 28), dtype=np.uint8),
        "y_train": random.integers(0, 10, train, dtype=np.uint8),
        "x_test": random.integers(0, 256, (test, 28, 28), dtype=np.uint8),
        "y_test": random.integers(0, 10, test, dtype=np.uint8),
    }


def npz(data):
    content = io.BytesIO()
    np.savez_compressed(content, **data)
    return content.getvalue()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def idx(array):
    magic = 0x800 + array.ndim
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


def write_idx(folder, data, suffix="", rename=lambda name: name):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, data.values(), strict=True):
        content = idx(array)
        path = folder / (rename(name) + suffix)
        path.write_bytes(gzip.compress(content) if suffix else content)
    return folder


def check(loaded, data, train_batch=10, test_batch=5):
    (train_images, train_labels), (test_images, test_labels) = loaded
    assert train_images.shape == (len(data["x_train"]) // train_batch, train_batch, 1, 28, 28)
    assert test_images.shape == (len(data["x_test"]) // test_batch, test_batch, 1, 28, 28)
    assert train_images.dtype == test_images.dtype == np.float32
    assert train_labels.dtype == test_labels.dtype == np.int32
    expected = (data["x_train"] / 255.0).astype(np.float32)
    np.testing.assert_array_equal(train_images.reshape(-1, 28, 28), expected)
    np.testing.assert_array_equal(train_labels.reshape(-1), data["y_train"])
    np.testing.assert_array_equal(test_labels.reshape(-1), data["y_test"])
    assert train_labels.shape == train_images.shape[:2]
    assert test_labels.shape == test_images.shape[:2]


# --- local files ---


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "rename", [lambda name: name, lambda name: name.replace("-idx", ".idx")], ids=["dash", "dot"]
)
def test_idx_files_in_out_dir(tmp_path, suffix, rename):
    data = arrays()
    write_idx(tmp_path / "here", data, suffix, rename)
    check(load_mnist(10, 5, out_dir=tmp_path / "here"), data)


def test_npz_in_out_dir(tmp_path):
    data = arrays()
    (tmp_path / "mnist.npz").write_bytes(npz(data))
    check(load_mnist(10, 5, hash_check=sha256(npz(data))), data)


def test_places_are_searched_in_order(tmp_path, monkeypatch):
    first, second, third = (arrays(seed=seed) for seed in (1, 2, 3))
    write_idx(tmp_path / "home" / "flowrs" / "mnist", third)
    monkeypatch.setattr("sys.platform", "linux")
    check(load_mnist(10, 5), third)
    monkeypatch.setenv("FLOWRS_DATA_DIR", str(write_idx(tmp_path / "data", second, ".gz")))
    check(load_mnist(10, 5), second)
    write_idx(tmp_path / "out", first)
    check(load_mnist(10, 5, out_dir=tmp_path / "out"), first)


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", "cache"),
        ("darwin", "home/Library/Caches"),
        ("win32", "local"),
    ],
)
def test_the_cache_folder_of_each_system(tmp_path, monkeypatch, platform, expected):
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert mnist.user_cache_folder() == tmp_path / expected


def test_a_relative_xdg_cache_home_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert mnist.user_cache_folder() == tmp_path / "home" / ".cache"


def test_an_incomplete_set_is_passed_over(tmp_path, monkeypatch):
    data = arrays()
    write_idx(tmp_path / "out", data)
    (tmp_path / "out" / NAMES[2]).unlink()
    monkeypatch.setenv("FLOWRS_DATA_DIR", str(write_idx(tmp_path / "data", arrays(seed=2))))
    check(load_mnist(10, 5, out_dir=tmp_path / "out"), arrays(seed=2))


def test_mnist_is_local(tmp_path, monkeypatch):
    assert not mnist.mnist_is_local()
    monkeypatch.setenv("FLOWRS_DATA_DIR", str(write_idx(tmp_path / "data", arrays())))
    assert mnist.mnist_is_local()


def test_other_data_formats_put_the_channel_last(tmp_path):
    data = arrays()
    write_idx(tmp_path, data)
    (first, _), _ = load_mnist(10, 5)
    (last, _), _ = load_mnist(10, 5, "anything")
    assert last.shape == (6, 10, 28, 28, 1)
    np.testing.assert_array_equal(last[..., 0], first[:, :, 0])


def test_batch_sizes_must_divide(tmp_path):
    write_idx(tmp_path, arrays())
    message = r"train_batch_size=7 does not divide the 60 training samples; .* 6 and 10"
    with pytest.raises(ArgumentError, match=message):
        load_mnist(7, 5)
    with pytest.raises(ArgumentError, match=r"test_batch_size=21 .* 20 test samples; .*: 20$"):
        load_mnist(10, 21)


@pytest.mark.parametrize(
    ("size", "kind"), [(0, ArgumentError), (-5, ArgumentError), (2.5, ArgumentTypeError)]
)
def test_batch_sizes_must_be_positive_integers(size, kind):
    with pytest.raises(kind, match="test_batch_size"):
        load_mnist(10, size)


def test_an_npz_with_another_checksum_is_refused(tmp_path):
    content = npz(arrays())
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_mnist(10, 5)
    assert "sha256 verification" in str(caught.value) and sha256(content) in str(caught.value)
    assert (tmp_path / "mnist.npz").read_bytes() == content


class Trap:
    """Unpickling this would write a file."""

    def __reduce__(self):
        return Path("unpickled").touch, ()


def members(data, **others):
    """An npz file whose members are given as bytes or arrays."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in {**data, **others}.items():
            if value is None:
                continue
            member = io.BytesIO()
            if isinstance(value, np.ndarray):
                np.lib.format.write_array(member, value)
            else:
                member.write(value)
            archive.writestr(f"{name}.npy", member.getvalue())
    return content.getvalue()


def npy(header, content=b""):
    text = (header + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


BAD_NPZ = {
    "not a zip": b"PK\x03\x04 and then something else",
    "empty": b"",
    "cut": npz(arrays())[:-3000],
    "no y_test": members(arrays(), y_test=None),
    "floats": members(arrays(), x_train=np.zeros((60, 28, 28), np.float32)),
    "objects": members(arrays(), y_train=np.array([Trap()] * 60, dtype=object)),
    "wrong size": members(arrays(), x_train=np.zeros((60, 27, 28), np.uint8)),
    "flat images": members(arrays(), x_train=np.zeros((60, 784), np.uint8)),
    "too few labels": members(arrays(), y_test=np.zeros(19, np.uint8)),
    "no npy": members(arrays(), x_test=b"nonsense"),
    "empty npy": members(arrays(), x_test=b""),
    "version": members(arrays(), y_test=b"\x93NUMPY\x09\x00\x00\x00"),
    "huge": members(
        arrays(),
        x_train=npy(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904, 28, 28)}"
        ),
    ),
    "negative": members(
        arrays(), y_test=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-20,)}")
    ),
    "too long": members(
        arrays(),
        y_test=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (20,)}", bytes(21)),
    ),
    "no header": members(arrays(), y_test=npy("{'descr': '|u1'}")),
    "unclosed header": members(arrays(), y_test=npy("{'descr': (")),
}


@pytest.mark.parametrize("content", BAD_NPZ.values(), ids=BAD_NPZ.keys())
def test_a_bad_npz_is_one_clear_error(tmp_path, content):
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mnist\.npz"):
        load_mnist(10, 5, hash_check=sha256(content))
    assert not Path("unpickled").exists()


def test_an_npz_in_fortran_order_reads_the_same(tmp_path):
    data = arrays()
    content = members(data, x_train=np.asfortranarray(data["x_train"]))
    (tmp_path / "mnist.npz").write_bytes(content)
    check(load_mnist(10, 5, hash_check=sha256(content)), data)


LABELS = idx(arrays()["y_train"])
IMAGES = idx(arrays()["x_train"])
BAD_IDX = {
    "labels without header": (1, LABELS[:7]),
    "labels too short": (1, LABELS[:-1]),
    "labels too long": (1, LABELS + b"\0"),
    "labels with the magic of images": (1, IMAGES),
    "fewer labels than images": (1, idx(arrays()["y_train"][:-1])),
    "images too short": (0, IMAGES[:-1]),
    "images with another magic": (0, b"\0\0\x0d\x03" + IMAGES[4:]),
    "images announced by the billion": (0, IMAGES[:4] + b"\xff\xff\xff\xff" + IMAGES[8:]),
    "images of another size": (0, idx(np.zeros((60, 14, 56), np.uint8))),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("which", "content"), BAD_IDX.values(), ids=BAD_IDX.keys())
def test_a_bad_idx_file_is_one_clear_error(tmp_path, suffix, which, content):
    write_idx(tmp_path, arrays(), suffix)
    path = tmp_path / (NAMES[which] + suffix)
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=re.escape(NAMES[which])):
        load_mnist(10, 5)


@pytest.mark.parametrize("cut", [5, 200, -4])
def test_a_damaged_gzip_file_is_one_clear_error(tmp_path, cut):
    write_idx(tmp_path, arrays(), ".gz")
    path = tmp_path / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=re.escape(path.name)):
        load_mnist(10, 5)


def test_an_empty_set_is_an_error(tmp_path):
    write_idx(tmp_path, arrays(train=0))
    with pytest.raises(DataError, match="there are no training samples"):
        load_mnist(10, 5)


# --- download ---


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, and misbehaves in the ways that it is asked for."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.cut_after = []  # for each connection in turn, how many bytes it carries
        self.knows_range = True
        self.sends_length = True
        self.wrong_range = False
        self.status = None
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/mnist.npz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.status is not None:
            self.send_error(server.status)
            return
        start = int(asked[6:-1]) if asked and server.knows_range else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = 0 if server.wrong_range else start
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(server.content)}")
        if server.sends_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(content):
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


CONTENT = npz(arrays())


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


def part(tmp_path):
    return tmp_path / "mnist.npz.part"


def test_load_mnist_downloads_into_out_dir(tmp_path, server):
    out_dir = tmp_path / "new" / "folder"
    loaded = load_mnist(10, 5, url=server.url, hash_check=sha256(CONTENT), out_dir=out_dir)
    check(loaded, arrays())
    assert [path.name for path in out_dir.iterdir()] == ["mnist.npz"]
    assert (out_dir / "mnist.npz").read_bytes() == CONTENT
    load_mnist(10, 5, url=server.url, hash_check=sha256(CONTENT), out_dir=out_dir)
    assert server.requests == [None]


def test_the_progress_of_a_download_is_shown(tmp_path, server, monkeypatch, capsys):
    monkeypatch.delenv("FLOWRS_PROGRESS")
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("downloading mnist.npz: ") and "(100 %)" in captured.err


def test_cut_connections_are_resumed(tmp_path, server):
    server.cut_after = [1000, 500]
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert server.requests == [None, "bytes=1000-", "bytes=1500-"]
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT


def test_a_connection_that_keeps_breaking_keeps_what_came(tmp_path, server):
    server.cut_after = [1000, 0]
    with pytest.raises(DownloadError, match=r"broke off after 1\.00 kB of .*what has come is kept"):
        download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert part(tmp_path).read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "mnist.npz").exists()
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert server.requests == [None, "bytes=1000-", "bytes=1000-"]
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT
    assert not part(tmp_path).exists()


def test_connections_are_not_made_without_end(tmp_path, server):
    server.cut_after = [1] * 50
    with pytest.raises(DownloadError, match="broke off"):
        download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert len(server.requests) == _download._MOST_CONNECTIONS


def test_a_server_without_range_starts_again(tmp_path, server):
    server.knows_range = False
    part(tmp_path).write_bytes(CONTENT[:1000])
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert server.requests == ["bytes=1000-"]
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_an_error(tmp_path, server):
    server.wrong_range = True
    part(tmp_path).write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=r"sent the range .*asked was 1000-"):
        download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert part(tmp_path).read_bytes() == CONTENT[:1000]


def test_an_answer_without_a_length_is_read_to_its_end(tmp_path, server):
    server.sends_length = False
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT


def test_a_complete_partial_file_needs_no_connection(tmp_path, server):
    part(tmp_path).write_bytes(CONTENT)
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert server.requests == []
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT


def test_a_partial_file_of_another_version_is_replaced(tmp_path, server):
    part(tmp_path).write_bytes(b"x" * 1000)
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert server.requests == ["bytes=1000-", None]
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_replaced(tmp_path, server):
    part(tmp_path).write_bytes(b"x" * (len(CONTENT) + 5))
    download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(tmp_path, server):
    with pytest.raises(
        DownloadError, match=f"has the sha256 {sha256(CONTENT)}, expected {'0' * 64}"
    ):
        download(server.url, tmp_path / "mnist.npz", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_page_is_one_clear_error(tmp_path, server):
    server.status = 404
    with pytest.raises(DownloadError) as caught:
        load_mnist(10, 5, url=server.url, out_dir=tmp_path)
    assert f"cannot download {server.url}: the server answers 404 Not Found" in str(caught.value)


def test_offline_the_error_names_places_and_files(tmp_path, server, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    with serving(b"") as gone:
        url = gone.url
    write_idx(tmp_path / "data", arrays())
    (tmp_path / "data" / NAMES[3]).unlink()
    monkeypatch.setenv("FLOWRS_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(DownloadError) as caught:
        load_mnist(10, 5, url=url)
    message = str(caught.value)
    assert message.startswith(f"cannot download {url}: ") and "refused" in message
    assert f"{tmp_path} (out_dir): no MNIST files" in message
    assert f"{tmp_path / 'data'} (FLOWRS_DATA_DIR): incomplete, without {NAMES[3]}" in message
    assert f"{tmp_path / 'home' / 'flowrs' / 'mnist'} (the user's cache): no such folder" in message
    assert "mnist.npz with the sha256 63d43440" in message
    assert all(name in message for name in NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_only_http_is_followed(tmp_path):
    for url in ("file:///etc/passwd", "ftp://127.0.0.1/mnist.npz", "mnist.npz"):
        with pytest.raises(ArgumentError, match="url must begin with http"):
            download(url, tmp_path / "mnist.npz", "0" * 64)


def test_an_out_dir_that_cannot_be_made_is_one_clear_error(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot write"):
        download(server.url, tmp_path / "file" / "mnist.npz", sha256(CONTENT))


def test_two_downloads_at_once_make_one_connection(tmp_path, server):
    pytest.importorskip("fcntl", reason="the system has no such file locks")
    errors = []

    def fetch():
        try:
            download(server.url, tmp_path / "mnist.npz", sha256(CONTENT))
        except DownloadError as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and server.requests == [None]
    assert [path.name for path in tmp_path.iterdir()] == ["mnist.npz"]
    assert (tmp_path / "mnist.npz").read_bytes() == CONTENT
