"""CIFAR-10 (Krizhevsky, 2009) from its published files: the binary or the Python version."""

import io
import pickle
import tarfile
import urllib.request
from pathlib import Path

import numpy as np

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32).reshape(1, 3, 1, 1)
DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32).reshape(1, 3, 1, 1)


class ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and nothing else: the Python version of the data set is pickled."""

    ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in an array file")
        return super().find_class(module, name)


def read_binary(data):
    """Records of one label byte and 3,072 pixels, a plane for each colour."""
    records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def read_python(data):
    """A pickled dict with the keys ``data`` and ``labels``."""
    batch = ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    return batch[b"data"].reshape(-1, 3, 32, 32), np.array(batch[b"labels"], np.uint8)


def load(folder, download=False):
    """((train images, labels), (test images, labels)): normalised float32 and int32.

    Looks in ``folder`` and below it for ``data_batch_1.bin`` or ``data_batch_1`` and their
    siblings; downloads the binary version into it where that is wished for.
    """
    folder = Path(folder)
    if download and not any(folder.rglob("test_batch*")):
        folder.mkdir(parents=True, exist_ok=True)
        print(f"downloading {URL}")
        with urllib.request.urlopen(URL) as response:
            archive = tarfile.open(fileobj=io.BytesIO(response.read()))
        archive.extractall(folder, filter="data")
    for suffix, read in ((".bin", read_binary), ("", read_python)):
        found = sorted(folder.rglob(f"test_batch{suffix}"))
        if found:
            place = found[0].parent
            train = sorted(place.glob(f"data_batch_[1-5]{suffix}"))
            parts = [read(path.read_bytes()) for path in train]
            images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            test_images, test_labels = read(found[0].read_bytes())
            return prepare(images, labels), prepare(test_images, test_labels)
    raise SystemExit(f"{folder}: no CIFAR-10 files (test_batch.bin or test_batch) here or below")


def prepare(images, labels):
    return (images / np.float32(255.0) - MEAN) / DEVIATION, labels.astype(np.int32)
