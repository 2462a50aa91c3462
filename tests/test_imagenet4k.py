"""The ImageNet-4K builder: its two rules, the three layouts, and planted faults."""

import gzip
import io
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from splits import benchmark, facts, imagenet4k
from splits.imagenet4k import PUBLISHED_MIN_IMAGES, PUBLISHED_SHA256, build, classes_sha256
from splits.images.listing import list_images, open_source, read_bytes, read_image
from splits.sampling import select_classes
from splits.sources import imagenet
from suite import files
from suite.errors import UserError

PER_CLASS = {"query": 2, "database": 4}
TENCH = "n01440764"  # in ImageNet-1K
DOG = "n02084071"  # not a leaf
STRANGE = "n99999999"
KEPT = facts.synsets().index[facts.synsets()["in_4k"]][:3].tolist()
SMALL = facts.synsets().index[facts.synsets()["in_4k"]][3]
MINE = [f"{KEPT[2]}/{KEPT[2]}_{i}.JPEG" for i in range(9)]  # nine images, six needed


def jpeg(number: int) -> bytes:
    """A small JPEG; its content depends on the number."""
    pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def images() -> dict[str, bytes]:
    """Path "wnid/wnid_i.JPEG" → content: three good classes, one of each kind that is refused."""
    counts = {KEPT[0]: 6, KEPT[1]: 8, KEPT[2]: 9, SMALL: 5, TENCH: 7, DOG: 7, STRANGE: 7}
    names = [f"{wnid}/{wnid}_{i}.JPEG" for wnid, n in counts.items() for i in range(n)]
    return {name: jpeg(i) for i, name in enumerate(names)}


@pytest.fixture
def source(tmp_path, images):
    """The images as a folder of class folders."""
    return as_folder(tmp_path / "images", images)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def as_folder(root, images):
    for name, content in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def as_tars(root, images):
    root.mkdir()
    for wnid in {name.partition("/")[0] for name in images}:
        with tarfile.open(root / f"{wnid}.tar", "w") as tar:
            for name, content in images.items():
                if name.startswith(wnid):
                    member = tarfile.TarInfo(name.partition("/")[2])
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return root


def as_manifest(root, images, suffix=".csv", order=1):
    as_folder(root, images)
    return write_lines(root, list(images)[::order], suffix)


def write_lines(root, names, suffix=".csv"):
    separator = "\t" if "tsv" in suffix else ","
    lines = [f"{name}{separator}{name.partition('/')[0]}" for name in names]
    text = "\n".join([f"path{separator}wnid", *lines]) + "\n"
    path = root / f"manifest{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode())
    return path


def build_small(source, out, **options):
    return build(source, out, **{"per_class": PER_CLASS, "counts": "found"} | options)


def build_lines(root, images, more, out):
    """A build of a manifest with more lines than images; returns its faults."""
    path = write_lines(as_folder(root, images), list(images))
    path.write_text(path.read_text() + more)
    build_small(path, out)
    return pd.read_csv(out / "faults.csv")


def drawn(out) -> pd.DataFrame:
    tables = [pd.read_csv(out / f"{split}.csv").assign(split=split) for split in PER_CLASS]
    return pd.concat(tables, ignore_index=True)


def drawn_names(out) -> list[str]:
    """File names in the order drawn, without what a layout puts in front of them."""
    return drawn(out)["path"].str.replace("::", "/").str.rpartition("/")[2].tolist()


# -- Rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "least", "classes"),
    # The count for 1,048 images is that of the published list's own text.
    [("published", PUBLISHED_MIN_IMAGES, 4202), ("published", 1048, 4214), ("stated", 1050, 6167)],
)
def test_a_rule_gives_its_number_of_classes(rule, least, classes):
    selection = select_classes(imagenet4k.imagenet_candidates(), rule, least)
    chosen = selection.index[selection["kept"]].tolist()
    assert len(chosen) == classes
    if classes == 4202:
        assert classes_sha256(chosen) == PUBLISHED_SHA256
        assert set(chosen) == set(facts.synsets().index[facts.synsets()["in_4k"]])


# -- The build -------------------------------------------------------------------------------


def test_three_layouts_give_the_same_build(tmp_path, images):
    sources = {
        "folder": as_folder(tmp_path / "a", images),
        "tars": as_tars(tmp_path / "b", images),
        "csv": as_manifest(tmp_path / "c", images, order=-1),
        "tsv": as_manifest(tmp_path / "d", images, ".tsv.gz"),
    }
    for name, source in sources.items():
        manifest = build_small(source, tmp_path / "out" / name)
        assert manifest["classes"] == 3 and not manifest["is_published_list"]
        assert drawn_names(tmp_path / "out" / name) == drawn_names(tmp_path / "out" / "folder")
    for name in ("database.csv", "query.csv", "classes.csv", "report.csv"):
        assert (tmp_path / "out/csv" / name).read_bytes() == (tmp_path / "out/tsv" / name).read_bytes()


def test_a_build_is_complete_and_its_checksums_hold(out, source):
    manifest = build_small(source, out, check="decode", threads=2)
    assert manifest == files.read_json(out / "manifest.json")
    assert {p.name for p in out.iterdir()} == {*manifest["files"], "manifest.json"}
    for name, written in manifest["files"].items():
        assert files.sha256(out / name) == written["sha256"]
        assert len(pd.read_csv(out / name)) == written["rows"]
    result = drawn(out)
    assert result["label"].dtype == np.int64
    assert not result["path"].duplicated().any()
    assert result.groupby(["label", "split"]).size().unstack().to_numpy().tolist() == [[4, 2]] * 3
    classes = pd.read_csv(out / "classes.csv", index_col="label")
    assert classes["wnid"].tolist() == sorted(KEPT)
    assert (classes["wnid"][result["label"]].to_numpy() == result["wnid"]).all()
    assert classes["images_listed"].tolist() == [6, 8, 9]


def test_the_report_says_why_classes_are_refused(source, out):
    build_small(source, out)
    report = pd.read_csv(out / "report.csv", index_col="wnid", keep_default_na=False)
    assert report.index[report["kept"]].tolist() == sorted(KEPT)
    reasons = report["reason"].str.partition(";")[0][[SMALL, TENCH, DOG, STRANGE]].tolist()
    assert reasons == ["too few images", "in ImageNet-1K", "not a leaf", "unknown synset"]
    assert len(report) == 21_841 + 2  # the ImageNet-1K class without a count, and the strange one


def test_the_stated_rule_keeps_inner_synsets(source, out):
    build_small(source, out, rule="stated")
    assert pd.read_csv(out / "classes.csv")["wnid"].tolist() == sorted([*KEPT, DOG])


def test_by_published_counts_all_missing_classes_are_named_at_once(tmp_path, source):
    with pytest.raises(UserError, match="4199 of 4202 classes lack images") as error:
        build_small(source, tmp_path / "out", counts="published")
    assert "and 4179 more" in str(error.value)
    assert not (tmp_path / "out").exists()
    missing = pd.read_csv(tmp_path / "out.missing.csv")
    assert len(missing) == 4199 and not set(missing["wnid"]) & set(KEPT)
    assert missing.set_index("wnid").loc[SMALL, "detail"].endswith("5 usable of the 6 needed")


@pytest.mark.parametrize("layout", [as_folder, as_tars, as_manifest])
def test_unreadable_and_equal_images_are_replaced_and_named(tmp_path, images, layout, out):
    wnid = KEPT[2]
    build_small(layout(tmp_path / "good", images), tmp_path / "before")
    first = [n for n in drawn_names(tmp_path / "before") if n.startswith(wnid)]
    cut, copied, empty = (f"{wnid}/{name}" for name in first[:3])
    images[cut] = images[cut][:-200]
    images[copied] = images[f"{wnid}/{first[5]}"]
    images[empty] = b""
    source = layout(tmp_path / "bad", images)
    build_small(source, out, check="decode")
    faults = pd.read_csv(out / "faults.csv")
    assert faults["fault"].value_counts().to_dict() == {"unreadable": 2, "duplicate": 1}
    bad = set(faults["path"].str.replace(".tar::", "/"))
    assert {cut, empty} < bad and len(bad & {copied, f"{wnid}/{first[5]}"}) == 1
    used = {f"{wnid}/{name}" for name in drawn_names(out) if name.startswith(wnid)}
    assert used == set(MINE) - bad
    # Reading alone does not notice the cut image: its header is whole.
    build_small(source, tmp_path / "read", check="read")
    fault = pd.read_csv(tmp_path / "read/faults.csv")["fault"]
    assert sorted(fault) == ["duplicate", "unreadable"]


def test_too_few_after_faults_fails_and_leaves_the_last_build_alone(tmp_path, images, out, source):
    build_small(source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    broken = [name for name in images if name.startswith((KEPT[0], KEPT[1]))][:9]
    for name in broken:
        (source / name).write_bytes(b"not an image")
    with pytest.raises(UserError, match="2 of 3 classes lack images") as error:
        build_small(source, out, check="read")
    assert f"{KEPT[0]}" in str(error.value) and "0 usable of the 6 needed" in str(error.value)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    missing = pd.read_csv(tmp_path / "out.missing.csv")
    assert set(missing["path"].dropna()) == set(broken)
    as_folder(source, images)
    build_small(source, out, check="read")
    assert not (tmp_path / "out.missing.csv").exists()


def test_repeated_lines_of_a_manifest(tmp_path, images):
    # The same file under two classes belongs to neither.
    more = f"{MINE[0]},{KEPT[2]}\n" * 2 + f"{MINE[1]},{KEPT[1]}\n"
    results = []
    for order in (1, -1):
        out = tmp_path / f"out{order}"
        faults = build_lines(tmp_path / "images", dict(list(images.items())[::order]), more, out)
        faults = faults.set_index("path").sort_index()
        assert faults.loc[MINE[0], "detail"] == "listed more than once"
        assert faults.loc[MINE[1], "detail"].tolist() == ["listed in several classes"] * 2
        assert len(faults) == 3 and MINE[1] not in set(drawn(out)["path"])
        results.append(drawn(out))
    pd.testing.assert_frame_equal(*results)


@pytest.mark.parametrize("other", [TENCH, DOG, SMALL, STRANGE])
def test_an_image_that_is_also_of_a_class_not_wanted_has_no_class(tmp_path, images, other):
    more = f"{MINE[0]},{other}\n./{MINE[1]},{other}\n"
    faults = build_lines(tmp_path / "images", images, more, tmp_path / "out")
    listing = list_images(open_source(tmp_path / "images/manifest.csv"), KEPT)
    assert sorted(listing.paths[listing.elsewhere]) == MINE[:2]
    # In a build by the images found, SMALL is looked at as well: both its lines are named.
    named = faults[faults["wnid"] == KEPT[2]].set_index("path")["detail"]
    assert named.to_dict() == dict.fromkeys(MINE[:2], "listed in several classes")
    assert not set(MINE[:2]) & set(drawn(tmp_path / "out")["path"])


def test_a_path_written_in_two_ways_is_one_image(tmp_path, images):
    again = [f"./{MINE[0]}", MINE[1].replace("/", "//"), MINE[2].replace("/", "/x/../")]
    more = "".join(f"{name},{KEPT[2]}\n" for name in again)
    faults = build_lines(tmp_path / "images", images, more, tmp_path / "out")
    assert faults["path"].tolist() == MINE[:3] and set(faults["detail"]) == {"listed more than once"}
    assert not drawn(tmp_path / "out")["path"].duplicated().any()


def test_a_missing_file_is_named(tmp_path, images):
    path = as_manifest(tmp_path / "images", images)
    gone = f"{KEPT[0]}/{KEPT[0]}_3.JPEG"  # of a class that has none to spare
    (tmp_path / "images" / gone).unlink()
    with pytest.raises(UserError, match="1 of 3 classes lack images"):
        build_small(path, tmp_path / "out", check="read")
    missing = pd.read_csv(tmp_path / "out.missing.csv").set_index("path")
    assert missing.loc[gone, ["fault", "detail"]].tolist() == ["missing", "no such file"]


def test_equal_names_in_two_folders_of_a_class_are_two_images(tmp_path):
    names = [f"{part}/{i}.JPEG" for part in ("x", "y") for i in range(3)]
    lines = [f"{name},{KEPT[0]}" for name in names]
    results = []
    for order in (1, -1):
        path = tmp_path / f"{order}.csv"
        path.write_text("\n".join(["path,wnid", *lines[::order]]))
        build_small(path, tmp_path / f"out{order}")
        results.append(drawn(tmp_path / f"out{order}")["path"].tolist())
    assert results[0] == results[1] and sorted(results[0]) == names


def test_a_cut_tar_is_named(tmp_path, images, out):
    source = as_tars(tmp_path / "tars", images)
    tar = source / f"{KEPT[0]}.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    assert build_small(source, out)["classes"] == 2
    faults = pd.read_csv(out / "faults.csv")
    assert faults[["wnid", "path", "fault"]].to_numpy().tolist() == [[KEPT[0], tar.name, "unreadable"]]


# -- Reading and listing ---------------------------------------------------------------------


def test_images_are_read_out_of_tars(tmp_path, images):
    source = as_tars(tmp_path / "tars", images)
    for name, content in images.items():
        assert read_bytes(name.replace("/", ".tar::"), source) == content
    image = read_image(f"{source}/{TENCH}.tar::{TENCH}_0.JPEG")
    assert image.mode == "RGB" and image.size == (24, 24)
    with pytest.raises(FileNotFoundError, match=r"no other\.JPEG in"):
        read_bytes(f"{TENCH}.tar::other.JPEG", source)


def test_only_wanted_classes_are_opened(tmp_path, images):
    source = open_source(as_tars(tmp_path / "tars", images))
    (source.path / f"{TENCH}.tar").write_bytes(b"never opened")
    listing = list_images(source, {KEPT[0]})
    assert listing.classes == sorted({*KEPT, SMALL, TENCH, DOG, STRANGE})
    assert dict(zip(listing.classes, listing.listed))[TENCH] == -1
    assert len(listing.paths) == 6 and not listing.broken


@pytest.mark.parametrize("layout", [as_folder, as_tars])
def test_what_only_looks_like_an_image_is_not_listed(tmp_path, images, layout):
    source = layout(tmp_path / "images", images | {f"{KEPT[0]}/._1.JPEG": b"macOS"})
    if layout is as_folder:
        (source / KEPT[0] / "sub.JPEG").mkdir()
        (source / KEPT[0] / "gone.JPEG").symlink_to("nowhere")
    listing = list_images(open_source(source), {KEPT[0]})
    names = sorted(path.replace(".tar::", "/") for path in listing.paths)
    gone = [f"{KEPT[0]}/gone.JPEG"] if layout is as_folder else []  # a missing image, to be named
    assert names == sorted([*gone, *(name for name in images if name.startswith(KEPT[0]))])


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_gz_is_refused(tmp_path, images, damage):
    path = as_manifest(tmp_path / "images", images, ".csv.gz")
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-20] if damage == "cut" else data[:60] + b"\xff" * 40 + data[100:])
    with pytest.raises(UserError, match="manifest.csv.gz: .*columns path and wnid"):
        list_images(open_source(path), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,wnid\na,b\n", "a first line naming the columns path and wnid"),
        ("path,wnid\na,n1\nb,\n", r"empty path or wnid in line \[3\]"),
        ("path,wnid\na,n1\nb,n1,x\n", "line 3"),
        ("path,wnid\na,b.JPEG,n1\n", "more fields than the first line names"),
        ("path,wnid\n", "it lists no images"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        list_images(open_source(path), ())


def test_a_bad_source_is_refused(tmp_path, images):
    (tmp_path / "empty").mkdir()
    both = as_folder(as_tars(tmp_path / "both", images), images)
    for source, message in (
        (tmp_path / "empty", "neither class folders"),
        (tmp_path / "nowhere", "no such folder"),
        (both, "both tars and folders"),
        (both / f"{TENCH}.tar", "is no manifest"),
    ):
        with pytest.raises(UserError, match=message):
            open_source(source)


def test_the_command_line(capsys, out, source):
    numbers = ["--database", "4", "--query", "2", "--counts", "found", "--check-images", "decode"]
    imagenet4k.main(["--images", str(source), "--out", str(out), *numbers])
    assert "3 classes (not the published list), rule published" in capsys.readouterr().out
    assert files.read_json(out / "manifest.json")["checked"] == "decode"
    with pytest.raises(SystemExit):
        imagenet4k.main(["--images", str(source), "--query", "0"])
    assert "--query: 0 is not a whole number from 1" in capsys.readouterr().err


def test_the_current_folder_can_be_built_in(tmp_path, monkeypatch, source):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert build_small("../images", ".")["classes"] == 3
    root = files.read_json(tmp_path / "here/manifest.json")["root"]
    assert root == str(source.resolve())  # wherever it is read from
    with pytest.raises(UserError, match=r"here\.missing\.csv"):
        build_small("../images", ".", counts="published")


def test_a_changed_manifest_is_another_source(tmp_path, images, out):
    path = as_manifest(tmp_path / "images", images)
    asked = {"rule": "published", "seed": 0, "counts": "found", "check": None, "per_class": PER_CLASS}
    build(path, out, **asked)
    assert imagenet.made_with(out, path, asked)
    assert not imagenet.made_with(out, path, asked | {"rule": "stated"})
    assert not imagenet.made_with(out, as_manifest(tmp_path / "images", images, ".tsv"), asked)
    write_lines(tmp_path / "images", list(images)[:-1])
    assert not imagenet.made_with(out, path, asked)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_synthetic_manifest_has_the_published_counts(tmp_path, monkeypatch, shuffle):
    few = facts.synsets().loc[[KEPT[0], TENCH, DOG]]
    monkeypatch.setattr(benchmark.facts, "synsets", lambda: few)
    path = tmp_path / "made.csv"
    benchmark.main([str(path), *(["--shuffle"] if shuffle else [])])
    table = pd.read_csv(path)
    assert table["wnid"].value_counts().to_dict() == few["images"].to_dict()
    assert not table["path"].duplicated().any()
    assert (table["path"].str.partition("/")[0] == table["wnid"]).all()
    assert table["wnid"].is_monotonic_increasing != shuffle
