"""Which layers need not be sent, and an archive without them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from occamctl.engine import layers

# `docker save` of Docker 20.10.24: the image's diff_ids, and the folders that manifest.json names for them.
DIGESTS = [
    "sha256:7678bdff6b19f99636ae7266163936c9e63cc640b56977d2e70e3b7cb4c5d392",
    "sha256:ca84f3edb9b66ad3cfc4f75aad3f4d7aaee50bb85ff61f51b93af871e862fa0d",
    "sha256:cfcd3c87837e67a28e4530cf75ff2b968fe8800b3eef52d8f0ba1c42162fd430",
    "sha256:29f87b2d633cd57bf0c346b5895a928213466992a3ba8fbeec1896c7ce14f6d2",
    "sha256:aa609b778d8c62d0e8c8a9a35f89a69b0b480cb17779b90dfab9481704ceb2a6",
    "sha256:1bdc485aed169ba6f5ac7817ec7bf386a3d096b1f9e8c2d0c49774909d518972",
    "sha256:da436bf35cdc48bf2b26d42fd950b880bb01698e86d6d3b40acc50e72c0930f3",
    "sha256:5c05946ef4210f36104f14093a32728e782bc44bbfa0686c85793ce08e482f1d",
    "sha256:df80d819ce40ea6e0e6542ee6fb6719e61d13791dcf8becab3a3db4d4896faa3",
    "sha256:49adb3e809f6f07468d37551540b1432ec0b4cab12061d32a35eeb6e1f3750e3",
]
FOLDERS = [
    "1939abd712d1c8cabf2c516d8296129954ffff6968b8acb783d40a20df0cc5aa",
    "b72b78cc2c51fef17af0a5b29c6134f57061ce41e695a0bc0cfd443dd915fcad",
    "4a07483040e5c01a876436640e448b52ddca2088cb25f434b2925fdf69a1453a",
    "6e578e14efc2fbbfa79e053c6bb9afd1c2f7f6e5b47f6d46820bc27c93e4250e",
    "d6eb8927f688d2f5823126d65e24a10afe2665c0dd28e24a2f9808e961cc320a",
    "0e8c17b6c2c5ba10c0504e3fe9e1889b1f260e09ec2a00f657ed1880897eb95e",
    "45d57d209118a1ba9f85930fbe8459979d109c7fd354c24930e33a8a41fff54b",
    "1cd5e712d484fdb98e57c2244157b0f9a58b747862828826ee8dc805010d9700",
    "713ef40b61072ea8c267f2b2671284851c078af7f6f839d828c56b183627b37a",
    "f2172ad5e2fbd5086452405c73281d807368aa43d2b6a2f83f4ef5349ea07f56",
]


@pytest.mark.parametrize(
    ("wanted", "there", "count"),
    [
        ("abc", [], 0),
        ("abc", ["xbc"], 0),
        ("abc", ["ab"], 2),
        ("abc", ["a", "abx", "bc"], 2),
        ("abc", ["abcd"], 3),
    ],
)
def test_layers_that_are_there(wanted: str, there: list[str], count: int) -> None:
    assert layers.shared(wanted, there) == count


def test_names_of_layers_in_an_archive_of_an_older_engine() -> None:
    named = layers.files(DIGESTS, len(DIGESTS))
    assert {f"{folder}/layer.tar" for folder in FOLDERS[:-1]} <= named
    assert f"{FOLDERS[-1]}/layer.tar" not in named, "the last one's name depends on more"


def test_names_of_layers_in_an_archive_of_a_newer_engine() -> None:
    named = {name for name in layers.files(DIGESTS, 2) if name.startswith("blobs/")}
    assert named == {f"blobs/sha256/{digest.removeprefix('sha256:')}" for digest in DIGESTS[:2]}


def test_no_layer_is_left_out_when_none_is_there() -> None:
    assert layers.files(DIGESTS, 0) == frozenset()


def _archive(form: int) -> tuple[bytes, dict[str, bytes]]:
    content = {
        "a/layer.tar": b"1" * 1300,
        "a/json": b"{}",
        "b/layer.tar": b"2" * 512,
        "long/" + "n" * 150: b"3",
        "empty": b"",
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue(), content


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("size", [1, 100, 512, 4096, 1 << 20])
def test_an_archive_without_some_files(form: int, size: int) -> None:
    data, content = _archive(form)
    made = b"".join(layers.without(_cut(data, size), frozenset({"a/layer.tar", "missing"})))
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        read = {one.name: (archive.extractfile(one) or io.BytesIO()).read() for one in archive}
    assert read == {name: data for name, data in content.items() if name != "a/layer.tar"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_an_archive_with_nothing_left_out_is_the_same(form: int) -> None:
    data, _ = _archive(form)
    assert b"".join(layers.without(_cut(data, 700), frozenset({"missing"}))) == data
