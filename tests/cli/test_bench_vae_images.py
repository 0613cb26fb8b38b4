"""Images from the files that people have, and what is said of other files."""

import gzip
import struct

import numpy as np
import pytest
import torch

from hollowpde.bench.vae.images import Images, counts, load, split
from hollowpde.bench.vae.images.images import as_grey
from hollowpde.errors import InputError

GREY = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
FLAT = GREY.reshape(7, 784)


def idx(values, kind=8):
    return struct.pack(">BBBB", 0, 0, kind, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    ) + values.tobytes()  # fmt: skip


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_with_the_test_images_beside_it(tmp_path, end):
    pack = gzip.compress if end else bytes
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    file = folder / f"train-images-idx3-ubyte{end}"
    file.write_bytes(pack(idx(GREY)))
    alone = load(str(file))
    assert alone.name == "MNIST" and alone.test is None
    (folder / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(GREY[:3])))
    (folder / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(GREY[0, 0])))
    read = load(str(file))
    assert np.array_equal(read.train, FLAT) and np.array_equal(read.test, FLAT[:3])
    # The folder that torchvision makes, from above.
    above = load(str(tmp_path / "MNIST"))
    assert np.array_equal(above.train, FLAT) and np.array_equal(above.test, FLAT[:3])
    assert read.digest == above.digest != alone.digest


def test_idx_that_is_broken(tmp_path):
    file = tmp_path / "train-images-idx3-ubyte"
    for content, message in (
        (idx(GREY)[:-1], "must hold 5488 bytes"),
        (idx(GREY, kind=13), "begins with 0 0 13 3"),
        (b"", "begins with"),
        (gzip.compress(idx(GREY))[:-9], "fetch it again"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load(str(file))


@pytest.mark.parametrize("train, test", [("train", "test"), ("X_train", "X_test"), ("odd", None)])
def test_npz(tmp_path, train, test):
    file = tmp_path / "mine.npz"
    np.savez(file, **{train: GREY}, **({test: GREY[:2], "y_train": np.arange(7)} if test else {}))
    read = load(str(file))
    assert read.name == "mine" and np.array_equal(read.train, FLAT)
    assert (read.test is None) == (test is None)


def test_npz_without_images(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, a=GREY, b=GREY[:1])
    with pytest.raises(InputError, match=r"a \(7, 28, 28\), b \(1, 28, 28\): rename one"):
        load(str(file))
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"must be an \.npz file"):
        load(str(file))


def test_pictures_of_omniglot(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, number in (("images_background", 3), ("images_evaluation", 2)):
        folder = tmp_path / "omniglot-py" / part / "Greek" / "character01"
        folder.mkdir(parents=True)
        for k in range(number):
            paper = np.full((112, 112), 255, np.uint8)
            paper[: 4 * (k + 1), :56] = 0  # ink
            image.fromarray(paper).save(folder / f"{k}.png")
    read = load(str(tmp_path / "omniglot-py"))
    assert read.name == "omniglot-py" and len(read.train) == 3 and len(read.test) == 2
    first = read.train[2].reshape(28, 28)
    assert (first[:3, :14] == 255).all() and first.sum() == 3 * 14 * 255


def test_what_is_no_image_file(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        load(str(tmp_path / "no.npz"))
    other = tmp_path / "images.mat"
    other.write_bytes(b"x")
    with pytest.raises(InputError, match="must be an IDX file such as"):
        load(str(other))
    with pytest.raises(InputError, match="has 1 files of other kinds"):
        load(str(tmp_path))


def test_values():
    assert np.array_equal(as_grey(GREY[:, None], "x"), FLAT)
    assert np.array_equal(as_grey(GREY / 255, "x"), FLAT)
    # Binary images come in every type.
    for kind in (bool, np.uint8, np.int64, np.float32):
        assert set(np.unique(as_grey((GREY > 127).astype(kind), "x"))) == {0, 255}
    for values, message in (
        (GREY[:, :27], "28 x 28"),
        (GREY[:0], "28 x 28"),
        (GREY - 10.0, "undo their standardisation"),
        (np.where(GREY > 0, GREY, np.nan), "from nan to nan"),
        (GREY.astype(str), "must hold numbers"),
    ):
        with pytest.raises(InputError, match=message):
            as_grey(values, "x")


def test_a_split_keeps_the_parts_apart():
    # Every image says which one it is, in pixels that are certain.
    marks = np.zeros((200, 784), np.uint8)
    marks[np.arange(200), np.arange(200)] = 255
    of = Images("mine", marks[:150], marks[150:])
    parts = split(of, 0)
    assert counts(of) == tuple(map(len, parts_of(parts))) == (135, 15, 50)
    seen = [set(part.float().argmax(1).tolist()) for part in parts_of(parts)]
    assert seen[0] | seen[1] == set(range(150)) and seen[2] == set(range(150, 200))
    other = split(of, 1)
    assert torch.equal(other.test, parts.test)
    assert not torch.equal(other.validation, parts.validation)
    whole = Images("mine", marks)
    parts = split(whole, 0)
    assert counts(whole) == tuple(map(len, parts_of(parts))) == (160, 20, 20)
    seen = [set(part.float().argmax(1).tolist()) for part in parts_of(parts)]
    assert set.union(*seen) == set(range(200))
    with pytest.raises(InputError, match="at least 3 images"):
        split(Images("mine", marks[:2]), 0)


def test_binary_images_have_the_grey_values_as_chances():
    half = np.full((400, 784), 51, np.uint8)
    parts = split(Images("mine", half[:30], half), 0)
    assert parts.test.unique().tolist() == [0, 1]
    assert parts.test.mean().item() == pytest.approx(0.2, abs=0.003)
    assert parts.train.dtype == torch.uint8
    assert torch.equal(split(Images("mine", half[:30], half), 5).test, parts.test)


def parts_of(parts):
    return parts.train, parts.validation, parts.test
