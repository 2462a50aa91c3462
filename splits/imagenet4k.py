"""ImageNet-4K: classes that no ImageNet-1K network has seen, each with database and query images.

    python -m splits.imagenet4k --images ~/imagenet21k --out results/imagenet4k

From an ImageNet-21K folder, a folder of its tars or a manifest it selects the classes, draws 1,000
database and 50 query images of each, and writes

    classes.csv     label, wnid, name, images_published, images_listed
    database.csv    path, wnid, label (int64), by label
    query.csv       the same; paths are relative to `root`, see splits.images.listing.read_image
    report.csv      every class: kept, or refused and why
    faults.csv      images left out: missing, unreadable, duplicate
    manifest.json   root, source, rule, seed, counts, SHA-256 of the files; written last

Two rules: `published` gives the 4,202 classes of the published list, `stated` the 6,167 that the
rule printed beside that list gives (splits/facts/README.md).
"""

import hashlib
import io
import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from splits import facts
from splits.images.listing import INSIDE, Listing, Source, list_images, open_source, read_bytes
from splits.images.pictures import DAMAGED
from splits.sampling import NOT_DRAWN, RULES, item_keys, place_rows, select_classes
from suite import cli, files
from suite.contracts import LARGEST
from suite.errors import UserError, unknown
from suite.machine import cores

PUBLISHED_SHA256 = "25b3a993e3f08880b6058b871e591c0995e9a69a73db699d1b8d6527c2b25f7d"
PUBLISHED_MIN_IMAGES = 1050
PER_CLASS = {"query": 50, "database": 1000}
CHECKS = ("read", "decode")
COUNTS = ("published", "found")
FAULTS = ["wnid", "path", "fault", "detail"]
FAULTS_SHOWN = 20


def imagenet_candidates() -> pd.DataFrame:
    """The 21,841 synsets and ImageNet-1K, indexed by wnid: name, images, unseen and leaf (bool)."""
    synsets = facts.synsets()
    counted = synsets.index[synsets["images"] > 0]
    table = synsets.loc[(synsets["images"] > 0) | (synsets["index_1k"] >= 0), ["name", "images"]]
    table["unseen"] = synsets["index_1k"] < 0
    table["leaf"] = table.index.isin(facts.leaves(counted))
    return table


def classes_sha256(wnids: list[str]) -> str:
    """SHA-256 of the sorted wnids joined by newlines, as the published list is identified."""
    return hashlib.sha256("\n".join(sorted(wnids)).encode()).hexdigest()


def build(
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    rule: str = "published",
    per_class: dict[str, int] = PER_CLASS,
    seed: int = 0,
    counts: str = "published",
    check: str | None = None,
    threads: int = 1,
) -> dict:
    """Write the class list and the draws to the folder `out`; returns what manifest.json says.

    counts: "published" applies the rule to the published counts (≥ 1,050), so the list is the same
    whoever builds it; "found" to the user's own images (≥ what is drawn), for another release or a
    part of it.
    check: None trusts the listing; "read" reads each drawn image and leaves out those that are
    missing, no images or the same file as another; "decode" decodes it too.

    Raises UserError when a class of the list has too few usable images. It names them; all of
    them, and every fault, are written to `<out>.missing.csv`, and `out` stays as it was.
    """
    out, source = Path(out), open_source(images)
    if counts not in COUNTS:
        raise unknown("counts", counts, COUNTS, "--counts")
    candidates, needed = imagenet_candidates(), sum(per_class.values())
    selection, listing, codes, paths, faults = choose(source, candidates, rule, counts, needed, seed)
    chosen = selection.index[selection["kept"]]
    labels = chosen.get_indexer(pd.Index(listing.classes))[codes]
    labels, paths = labels[labels >= 0], paths[labels >= 0]
    place, usable, failed = place_images(source, labels, paths, chosen, per_class, check, threads)
    faults = pd.DataFrame(faults + failed, columns=FAULTS).sort_values(FAULTS, ignore_index=True)
    listed = pd.Series(listing.listed, listing.classes, dtype="Int64")
    listed = listed.mask(listed < 0)
    classes = pd.DataFrame(
        {
            "label": np.arange(len(chosen), dtype=np.int64),
            "wnid": chosen,
            "name": candidates["name"].loc[chosen].array,
            "images_published": candidates["images"].loc[chosen].array,
            "images_listed": listed.reindex(chosen).array,
        }
    )
    report_missing(out, classes, usable, needed, faults)

    report = class_report(candidates, selection, listed)
    tables = {"classes": classes, "report": report, "faults": faults}
    for index, split in enumerate(per_class):
        rows = np.flatnonzero(place == index)
        columns = {"path": paths[rows], "wnid": chosen[labels[rows]], "label": labels[rows]}
        tables[split] = pd.DataFrame(columns)
    digest = classes_sha256(list(chosen))
    manifest = {
        "builder": "imagenet4k",
        **identity(source),
        "layout": source.layout,
        "rule": rule,
        "counts": counts,
        "seed": seed,
        "per_class": per_class,
        "checked": check,
        "classes": len(chosen),
        "classes_sha256": digest,
        "is_published_list": digest == PUBLISHED_SHA256,
    }
    return write_build(out, manifest, tables)


def choose(
    source: Source, candidates: pd.DataFrame, rule: str, counts: str, needed: int, seed: int
) -> tuple[pd.DataFrame, Listing, np.ndarray, np.ndarray, list[tuple]]:
    """(selection, listing, codes, paths, faults): which classes are kept, and their images by rank.

    codes, paths and faults are those of `rank_images`. Raises UserError when no class is kept.
    """
    by_found = counts == "found"
    least = needed if by_found else PUBLISHED_MIN_IMAGES
    # Classes that the rule refuses for another reason than the images found need not be opened.
    selection = select_classes(candidates.assign(images=needed) if by_found else candidates, rule, least)
    listing = list_images(source, selection.index[selection["kept"]])
    codes, paths, faults = rank_images(listing, seed)
    if by_found:
        found = pd.Series(np.bincount(codes, minlength=len(listing.classes)), listing.classes)
        found = found.reindex(candidates.index, fill_value=0)
        # Unopened classes are refused already: whether they have enough is not known.
        found[~selection["kept"]] = needed
        selection = select_classes(candidates.assign(images=found), rule, needed)
    if not selection["kept"].any():
        broken = "".join(f"; {path}: {detail}" for _, path, detail in listing.broken)
        raise UserError(f"no class in {source.path} has the {needed} images {rule} needs{broken}")
    unreadable = [(wnid, path, "unreadable", detail) for wnid, path, detail in listing.broken]
    return selection, listing, codes, paths, unreadable + faults


def identity(source: Source) -> dict:
    """What a build was made from: root and source as absolute paths, a manifest's SHA-256 (else None), and a
    hash that changes when images are added, removed or renamed."""
    listed = source.layout == "manifest"
    return {
        "root": str(source.root.resolve()),
        "source": str(source.path.resolve()),
        "source_sha256": files.sha256(source.path) if listed else None,
        "source_listing": source.fingerprint(),
    }


def rank_images(listing: Listing, seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """(codes int32 [m], paths [m]) by class and rank, and the faults: paths that are listed twice.

    The rank comes from the file name alone, so that a folder, its tars and a manifest give the same draw. Of
    a path listed twice in a class one stays; a path listed in several classes, wanted or not, has no class.
    """
    codes, paths = listing.codes, listing.paths
    keys = np.empty(len(paths), np.uint64)
    for start in range(0, len(paths), 1_000_000):  # file names are needed a block at a time only
        block = slice(start, start + 1_000_000)
        names = [path.replace(INSIDE, "/").rpartition("/")[2] for path in paths[block]]
        keys[block] = item_keys(np.array(names, dtype=object), seed)

    suspect = np.flatnonzero(pd.Series(keys).duplicated(keep=False) | listing.elsewhere)
    rows = pd.DataFrame({"row": suspect, "code": codes[suspect], "path": paths[suspect]})
    rows["key"], rows["elsewhere"] = keys[suspect], listing.elsewhere[suspect]
    twice = rows[rows.duplicated("path", keep=False) | rows["elsewhere"]]
    contradictory = twice["elsewhere"] | (twice.groupby("path")["code"].transform("nunique") > 1)
    dropped = twice[contradictory | twice.duplicated(["code", "path"])]
    named = dropped.drop_duplicates(["code", "path"])
    why = np.where(contradictory[named.index], "listed in several classes", "listed more than once")
    wnids = [listing.classes[code] for code in named["code"]]
    faults = [(*which, "duplicate", detail) for *which, detail in zip(wnids, named["path"], why.tolist())]
    # One file name in two folders of a class: only there the whole path has to tell them apart.
    left = rows.drop(dropped.index)
    tied = left[left.duplicated(["code", "key"], keep=False)]
    keys[tied["row"]] = item_keys(tied["path"].to_numpy(dtype=object), seed)

    order = np.lexsort((keys, codes))
    stays = np.ones(len(paths), bool)
    stays[dropped["row"]] = False
    order = order[stays[order]]
    return codes[order], paths[order], faults


def place_images(
    source: Source,
    labels: np.ndarray,
    paths: np.ndarray,
    chosen: pd.Index,
    per_class: dict[str, int],
    check: str | None,
    threads: int,
) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """(place int8 [n], usable images per class [classes], faults); see `place_rows`.

    labels: int [n] and paths [n] by class and rank. An image that fails `check` gives its place to
    the next in rank, which is checked in its turn.
    """
    usable = np.ones(len(labels), bool)
    pending = np.full(len(labels), check is not None)
    faults: list[tuple] = []
    first_with: dict[bytes, str] = {}
    while True:
        place = place_rows(labels, usable, per_class)
        rows = np.flatnonzero((place != NOT_DRAWN) & pending)
        if not len(rows):
            return place, np.bincount(labels[usable], minlength=len(chosen)), faults
        for row, (fault, detail, digest) in zip(rows, examine_all(paths[rows], source.root, check, threads)):
            if not fault and digest in first_with:
                fault, detail = "duplicate", f"same content as {first_with[digest]}"
            if fault:
                usable[row] = False
                faults.append((chosen[labels[row]], paths[row], fault, detail))
            else:
                first_with[digest] = paths[row]
        pending[rows] = False


def examine_all(paths: np.ndarray, root: Path, check: str, threads: int):
    """Yield `examine` of every path in order, `threads` at a time."""
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(paths), desc="checking images", unit_scale=True) as bar,
    ):
        for start in range(0, len(paths), 4096):  # a bounded number of results waits at a time
            for result in pool.map(partial(examine, root=root, check=check), paths[start : start + 4096]):
                bar.update()
                yield result


def examine(path: str, root: Path, check: str) -> tuple[str, str, bytes]:
    """(fault, detail, digest of the content) of one image; fault is "" for a good one."""
    try:
        data = read_bytes(path, root)
        with Image.open(io.BytesIO(data)) as image:
            if check == "decode":
                image.load()
    except FileNotFoundError:
        return "missing", "no such file", b""
    except DAMAGED as error:
        return "unreadable", str(error).partition(" <")[0], b""  # no address of a buffer: it varies
    return "", "", hashlib.blake2b(data, digest_size=16).digest()


def class_report(candidates: pd.DataFrame, selection: pd.DataFrame, listed: pd.Series) -> pd.DataFrame:
    """One row per candidate and per class that only the source has: kept, or refused and why."""
    columns = {"name": candidates["name"], "images_published": candidates["images"], "images_listed": listed}
    report = pd.DataFrame(columns | {column: selection[column] for column in ("kept", "reason")})
    strange = {"name": "", "images_published": 0, "kept": False, "reason": "unknown synset"}
    report = report.fillna(strange).astype({"images_published": int, "kept": bool})
    return report.rename_axis("wnid").sort_index().reset_index()


def report_missing(
    out: Path, classes: pd.DataFrame, usable: np.ndarray, needed: int, faults: pd.DataFrame
) -> None:
    """Raise UserError if a class has too few usable images, with the list in <out>.missing.csv."""
    whole = out.resolve()  # "." has no name
    path = whole.with_name(whole.name + ".missing.csv")
    short = classes[usable < needed]
    if short.empty:
        path.unlink(missing_ok=True)
        return
    rows = [
        (wnid, "", "too few images", f"{name}: {found} usable of the {needed} needed")
        for wnid, name, found in zip(short["wnid"], short["name"], usable[usable < needed])
    ]
    table = pd.concat([pd.DataFrame(rows, columns=FAULTS), faults])
    with files.write_aside(path) as aside:
        table.to_csv(aside, index=False, lineterminator="\n")
    lines = [f"  {wnid} {detail}" for wnid, _, _, detail in rows[:FAULTS_SHOWN]]
    if len(rows) > FAULTS_SHOWN:
        lines.append(f"  and {len(rows) - FAULTS_SHOWN} more")
    by_fault = ", ".join(f"{n} {fault}" for fault, n in faults["fault"].value_counts().items())
    raise UserError(
        f"{len(rows)} of {len(classes)} classes lack images, so nothing was built:\n"
        + "\n".join(lines)
        + f"\nimages left out: {by_fault or 'none'}; every class and image by name: {path}"
    )


def write_build(out: Path, manifest: dict, tables: dict[str, pd.DataFrame]) -> dict:
    """Write the tables and, last, manifest.json with their SHA-256; returns the manifest."""
    with ExitStack() as stack:  # renames in reverse order on the way out: the manifest comes last
        manifest_aside = stack.enter_context(files.write_aside(out / "manifest.json"))
        written = {}
        for name, table in tables.items():
            aside = stack.enter_context(files.write_aside(out / f"{name}.csv"))
            table.to_csv(aside, index=False, lineterminator="\n")
            written[f"{name}.csv"] = {"rows": len(table), "sha256": files.sha256(aside)}
        manifest = manifest | {"files": written}
        files.write_json(manifest_aside, manifest)
        (out / "manifest.json").unlink(missing_ok=True)  # it must not vouch for half-renamed files
    return manifest


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of class folders, of tars, or a manifest")
    parser.add_argument("--out", default="results/imagenet4k", help="folder to write to")
    parser.add_argument("--rule", default="published", help=f"{' or '.join(RULES)}; default %(default)s")
    parser.add_argument(
        "--database", type=cli.whole(1, LARGEST), default=PER_CLASS["database"], help="per class"
    )
    parser.add_argument("--query", type=cli.whole(1, LARGEST), default=PER_CLASS["query"], help="per class")
    parser.add_argument("--seed", type=cli.SEED, default=0, help="of the draw")
    parser.add_argument(
        "--counts",
        choices=COUNTS,
        default="published",
        help="apply the rule to the published image counts (the default: the published list, or no "
        "build) or to the images found",
    )
    parser.add_argument(
        "--check-images",
        dest="check",
        nargs="?",
        const="read",
        choices=CHECKS,
        help="read every drawn image (or decode it too) and replace what is missing, damaged or "
        "the same file as another; without it the listing is trusted",
    )
    parser.add_argument("--threads", type=cli.THREADS, default=cores(), help="for --check-images")
    args = parser.parse_args(argv)
    given = vars(args)
    per_class = {split: given.pop(split) for split in ("query", "database")}
    manifest = build(**given, per_class=per_class)
    published = "the published list" if manifest["is_published_list"] else "not the published list"
    print(f"{args.out}: {manifest['classes']} classes ({published}), rule {manifest['rule']}")
    for name, file in manifest["files"].items():
        print(f"  {name}: {file['rows']} rows, sha256 {file['sha256']}")


if __name__ == "__main__":
    cli.run(main)
