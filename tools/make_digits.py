"""Makes python/flowrs/data/digits.npz from the copy of the set inside scikit-learn's package.

Run it from anywhere, in an environment with scikit-learn: ``python tools/make_digits.py``.
The arrays are those of the set; the file's own bytes depend on the zlib that compresses them.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

DESTINATION = Path(__file__).parents[1] / "python" / "flowrs" / "data" / "digits.npz"


def digits_arrays() -> dict[str, npt.NDArray[np.uint8]]:
    """Returns the set: `images` uint8 (1797, 8, 8) with values 0 to 16, `labels` uint8 (1797,)."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    digits = load_digits()
    images = digits.images.astype(np.uint8)
    if not np.array_equal(images, digits.images):
        raise SystemExit("the values of scikit-learn's copy are not whole numbers from 0 to 255")
    return {"images": images, "labels": digits.target.astype(np.uint8)}


def npz_bytes(arrays: dict[str, npt.NDArray[np.uint8]]) -> bytes:
    """Returns an npz file that holds the arrays; the same arrays give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            # A fixed date, where numpy's own writer would put today's.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return content.getvalue()


def main() -> int:
    """Writes the file and says how large it is."""
    content = npz_bytes(digits_arrays())
    DESTINATION.write_bytes(content)
    print(f"{DESTINATION}: {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
