"""Unicode characters drawn from the typefaces inside matplotlib: a dataset in seconds, without a download.

Scripts and symbol blocks are the superclasses, letters with and without a diacritic the fine-grained pairs.
An unseen typeface is the re-collected test (`v2`), outlines are the sketches, decorative drawings the
renditions, images that a small reference network gets wrong the naturally hard ones, and characters never
trained on the unseen classes.
"""

import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from splits import sampling
from splits.checks import check_whole
from splits.glyphs import reference_network, rendering, typefaces
from splits.glyphs.typefaces import Character
from splits.images import pictures
from splits.store import DatasetWriter, Split, class_table
from suite.errors import UserError

TUNES = True
WRITES = ("train", "val", "v2", "sketch", "r", "a", "database", "query", "stream", "superclasses")
OPTIONS = {
    "seed": 0,  # chooses the classes and draws every image
    "classes": 100,  # characters that are trained on
    "unseen": 200,  # characters that are not
    "unseen_faces": 4,  # typefaces an unseen character is in, at least
    "train": 64,  # images per class, and so below
    "val": 20,
    "v2": 10,
    "sketch": 10,
    "r": 50,
    "a": 30,
    "database": 20,
    "query": 5,
    "subset": 0.2,  # share of the classes that have `r` images, and of those that have `a` images
    "stream_seen": 60,  # trained characters in the stream
    "stream_unseen": 90,  # other characters in the stream
    "stream_head": 120,  # images of the stream's most frequent character
    "stream_tail": 2,  # images of its rarest
}
ALLOWED = {
    "classes": {"minimum": 1},
    "unseen": {"minimum": 1},
    "unseen_faces": {"minimum": 1},
    "train": {"minimum": 1},
    "val": {"minimum": 1},
    "v2": {"minimum": 1},
    "sketch": {"minimum": 1},
    "r": {"minimum": 1},
    "a": {"minimum": 1},
    "database": {"minimum": 1},
    "query": {"minimum": 1},
    "subset": {"exclusiveMinimum": 0, "maximum": 1},
    "stream_seen": {"minimum": 1, "not_above": "classes"},
    "stream_unseen": {"minimum": 1, "not_above": "unseen"},
    "stream_head": {"minimum": 1},
    "stream_tail": {"minimum": 1, "not_above": "stream_head"},
}

# A class to be trained on is in this many typefaces of either kind, and large enough to be read.
BASE_TRAINED_FACES, BASE_HELD_OUT_FACES, BASE_EXTENT = 4, 1, 0.5
UNSEEN_EXTENT = 0.25
FAMILY = 3  # a base letter and its variants together give at most this many classes in a round
SMALLEST_SUPERCLASS = 30  # smaller scripts and blocks are not trained on: they would be no group
HARD_ROUNDS = 20  # times `a` images per class are drawn in search of hard ones, at most
HARD_PROBABILITY = 0.15  # what the reference network may give the true class of a hard image
CHUNK = 256  # images drawn from one generator; part of what makes the images what they are

# Unicode's own block limits; letters are grouped by script instead.
BLOCKS = (
    (0x2190, 0x21FF, "arrows"),
    (0x2200, 0x22FF, "mathematical operators"),
    (0x2300, 0x23FF, "technical"),
    (0x2460, 0x24FF, "enclosed alphanumerics"),
    (0x25A0, 0x25FF, "geometric shapes"),
    (0x2600, 0x26FF, "miscellaneous symbols"),
    (0x2700, 0x27BF, "dingbats"),
    (0x27C0, 0x27EF, "mathematical operators"),
    (0x27F0, 0x27FF, "arrows"),
    (0x2900, 0x297F, "arrows"),
    (0x2980, 0x2AFF, "mathematical operators"),
    (0x2B00, 0x2B11, "arrows"),
    (0x2B12, 0x2B2F, "geometric shapes"),
    (0x2B30, 0x2B4F, "arrows"),
    (0x2B50, 0x2BFF, "geometric shapes"),
    (0x4DC0, 0x4DFF, "hexagrams"),
    (0x1D300, 0x1D35F, "tetragrams"),
    (0x1F000, 0x1F0FF, "game pieces"),
    (0x1F600, 0x1F64F, "emoticons"),
)
SCRIPTS = {
    "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "LAO", "TIFINAGH", "NKO",
    "OGHAM", "COPTIC", "LISU",
}  # fmt: skip
LETTER_GROUPS = {
    "CANADIAN": "canadian syllabics",
    "OLD": "old italic",
    "MODIFIER": "modifier letters",
    "MATHEMATICAL": "mathematical letters",
    "DOUBLE-STRUCK": "mathematical letters",
    "SCRIPT": "mathematical letters",
    "BLACK-LETTER": "mathematical letters",
}
CATEGORY_GROUPS = {"L": "other letters", "N": "numbers", "P": "punctuation", "S": "other symbols"}


def superclass(codepoint: int) -> str:
    """Script of a letter, block or kind of anything else."""
    category = unicodedata.category(chr(codepoint))
    if category[0] == "L":
        word = unicodedata.name(chr(codepoint)).split()[0]
        return word.lower() if word in SCRIPTS else LETTER_GROUPS.get(word, "other letters")
    if category == "Sc":
        return "currency signs"
    for first, last, name in BLOCKS:
        if first <= codepoint <= last:
            return name
    return CATEGORY_GROUPS[category[0]]


def base_letter(codepoint: int) -> str:
    """The letter that a letter with a diacritic or stroke is made from, or itself; "" if not a letter."""
    letter = chr(codepoint)
    if unicodedata.category(letter)[0] != "L":
        return ""
    name, _, addition = unicodedata.name(letter).partition(" WITH ")
    if addition:
        try:
            return unicodedata.lookup(name)
        except KeyError:
            pass  # "MODIFIER LETTER SMALL L" with a hook, say, has no plain form: ask the decomposition
    return unicodedata.normalize("NFD", letter)[0]


def caption(codepoint: int) -> str:
    """The character's name as one would write it: "Latin capital letter A with grave"."""
    words = unicodedata.name(chr(codepoint)).split()
    capital = "CAPITAL" in words
    return " ".join(
        word
        if capital and len(word) == 1  # the letter itself
        else word.capitalize()
        if word in SCRIPTS or word == "CANADIAN"
        else word.lower()
        for word in words
    )


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write every split; see the module's first lines for what they are."""
    check(options)
    classes, characters = choose_classes(options)
    writer.classes(classes)
    seen, unseen = np.flatnonzero(classes["seen"]), np.flatnonzero(~classes["seen"])
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"subsets")])
    fifth = max(1, round(options["subset"] * len(seen)))
    with pictures.pool(threads) as run:
        artist = Artist(options["seed"], characters, run)
        for name, labels in {"train": seen, "val": seen, "database": unseen, "query": unseen}.items():
            artist.write(writer, name, artist.plan(name, labels, options[name]))
        plan = artist.plan("v2", seen, options["v2"], held_out=True).assign(style="plain")
        artist.write(writer, "v2", plan)
        plan = artist.plan("sketch", seen, options["sketch"]).assign(style="outline")
        artist.write(writer, "sketch", plan, rendering.SKETCH)
        plan = artist.plan("r", np.sort(rng.choice(seen, fifth, replace=False)), options["r"])
        plan["style"] = np.resize(rendering.RENDITIONS, len(plan))
        artist.write(writer, "r", plan, rendering.RENDITION)
        artist.write(writer, "stream", plan_stream(artist, seen, unseen, options))
        write_naturally_hard(writer, artist, np.sort(rng.choice(seen, fifth, replace=False)), options)


def tune(options: dict, count: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Images to choose settings on, like those of val, from a generator of their own; no part of the data.

    Every class of train equally often, `count` in all or a little more: uint8 [n, 32, 32, 1], int64 [n].
    """
    check(options)
    check_whole("tune", {"images": count}, images=1)
    classes, characters = choose_classes(options)
    seen = np.flatnonzero(classes["seen"])
    with pictures.pool(threads) as run:
        artist = Artist(options["seed"], characters, run)
        plan = artist.plan("tune", seen, -(-count // len(seen)))
        images = np.concatenate(list(artist.images("tune", plan, rendering.NATURAL)))
    return images, plan["label"].to_numpy(np.int64)


def check(options: dict) -> None:
    """Raise UserError for options that no dataset can be drawn with."""
    counts = (name for name in options if name not in ("seed", "subset"))
    check_whole("glyphs", options, seed=0, **dict.fromkeys(counts, 1))
    subset = options["subset"]
    if not isinstance(subset, int | float) or not 0 < subset <= 1:
        raise UserError(f"glyphs: subset is {subset!r}, allowed: above 0, at most 1")
    for part, whole in (("stream_seen", "classes"), ("stream_unseen", "unseen")):
        if options[part] > options[whole]:
            raise UserError(f"glyphs: {part} is {options[part]}, but {whole} is {options[whole]}")
    if options["stream_tail"] > options["stream_head"]:
        raise UserError(f"glyphs: stream_tail is {options['stream_tail']}, more than stream_head")


def plan_stream(artist: "Artist", seen: np.ndarray, unseen: np.ndarray, options: dict) -> pd.DataFrame:
    """Rows of the stream in the order they arrive, with `group` pretrain or novel."""
    rng = sampling.stream_generator(options["seed"])
    groups = ((seen, options["stream_seen"]), (unseen, options["stream_unseen"]))
    chosen = np.concatenate([rng.choice(labels, size, replace=False) for labels, size in groups])
    counts = sampling.long_tail(chosen, options, rng)
    plan = pd.concat(artist.plan("stream", [label], count) for label, count in counts.items())
    plan = plan.iloc[rng.permutation(len(plan))]
    plan["id"] = ids("stream", len(plan))
    plan["group"] = np.where(np.isin(plan["label"], seen), "pretrain", "novel")
    return plan.reset_index(drop=True)


def write_naturally_hard(writer: DatasetWriter, artist: "Artist", labels: np.ndarray, options: dict) -> None:
    """Write `a`: new images like those of val, but only such as the reference network gets wrong.

    Raises UserError if it gets none of a class wrong in HARD_ROUNDS rounds.
    """
    train = Split("train", writer.folder / "train")
    network = reference_network.train(train.images, train.labels, options["classes"], options["seed"])
    found, parts = dict.fromkeys(labels.tolist(), 0), []
    for turn in range(HARD_ROUNDS):
        wanted = [label for label, count in found.items() if count < options["a"]]
        if not wanted:
            break
        plan = artist.plan("a", wanted, options["a"])
        drawn = np.concatenate(list(artist.images(f"a{turn}", plan, rendering.NATURAL)))
        probability = reference_network.predict(network, drawn)
        plan["taken_for"] = probability.argmax(axis=1)
        true = probability[np.arange(len(plan)), plan["label"]]
        # Of images taken for another class most would be coin tosses, which another network gets right.
        hard = (plan["taken_for"] != plan["label"]) & (true < HARD_PROBABILITY)
        for row in np.flatnonzero(hard):
            label = int(plan["label"].iloc[row])
            if found[label] < options["a"]:
                found[label] += 1
                parts.append((plan.iloc[row], drawn[row]))
    if never := [label for label, count in found.items() if count == 0]:
        raise UserError(
            f"glyphs: the reference network recognises every image of classes {never}; choose another "
            "seed or more `a` images"
        )
    parts.sort(key=lambda part: part[0]["label"])  # a stable sort: each class in the order it was drawn
    plan = pd.DataFrame([row for row, _ in parts]).assign(id=ids("a", len(parts)))
    labels = plan["label"].to_numpy(np.int64)
    writer.split("a", np.stack([image for _, image in parts]), labels, plan.drop(columns="label"))


def ids(split: str, count: int) -> list[str]:
    """Names of a split's images: "val-000000" and so on."""
    return [f"{split}-{row:06d}" for row in range(count)]


def choose_classes(options: dict) -> tuple[pd.DataFrame, list[Character]]:
    """The class table and the character of every label: trained ones first, then the unseen.

    Raises UserError when there are not that many characters.
    """
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"classes")])
    characters = typefaces.catalogue()
    groups: dict[str, list[Character]] = {}
    for character in filter(is_base, characters):
        groups.setdefault(superclass(character.codepoint), []).append(character)
    groups = {name: group for name, group in groups.items() if len(group) >= SMALLEST_SUPERCLASS}
    available = sum(map(len, groups.values()))
    if options["classes"] > available:
        raise UserError(f"glyphs: classes is {options['classes']}, but only {available} can be trained on")
    base = [
        character
        for name, count in share_out(options["classes"], {n: len(g) for n, g in groups.items()}).items()
        for character in choose_families(groups[name], count, rng)
    ]
    taken = set(base)
    rest = [
        character
        for character in characters
        if character not in taken
        and character.extent >= UNSEEN_EXTENT
        and len(character.faces) >= options["unseen_faces"]
    ]
    if options["unseen"] > len(rest):
        raise UserError(
            f"glyphs: unseen is {options['unseen']}, but only {len(rest)} other characters are in "
            f"{options['unseen_faces']} typefaces or more (unseen_faces)"
        )
    unseen = [rest[i] for i in np.sort(rng.choice(len(rest), options["unseen"], replace=False))]
    chosen = base + unseen
    codepoints = [character.codepoint for character in chosen]
    table = class_table(
        [unicodedata.name(chr(c)) for c in codepoints],
        [superclass(c) for c in codepoints],
        len(base),
        codepoint=[f"U+{c:04X}" for c in codepoints],
        category=[unicodedata.category(chr(c)) for c in codepoints],
        base=[base_letter(c) for c in codepoints],
        caption=[caption(c) for c in codepoints],
        faces=[len(character.faces) for character in chosen],
    )
    return table, chosen


def is_base(character: Character) -> bool:
    """Whether a character is in enough typefaces to be trained on and tested in others."""
    return (
        len(character.trained_faces) >= BASE_TRAINED_FACES
        and len(character.held_out_faces) >= BASE_HELD_OUT_FACES
        and character.extent >= BASE_EXTENT
    )


def share_out(total: int, sizes: dict[str, int]) -> dict[str, int]:
    """As even a division of `total` as the sizes allow; the remainder goes to the largest.

    >>> share_out(10, {"latin": 50, "greek": 20, "currency": 2})
    {'latin': 4, 'greek': 4, 'currency': 2}
    """
    shares = dict.fromkeys(sizes, 0)
    order = sorted(sizes, key=lambda name: (-sizes[name], name))
    while total > 0:
        for name in order:
            if total > 0 and shares[name] < sizes[name]:
                shares[name] += 1
                total -= 1
    return shares


def choose_families(group: list[Character], count: int, rng: np.random.Generator) -> list[Character]:
    """`count` characters of a group in code point order, base letters together with their variants."""
    families: dict[str, list[Character]] = {}
    for index in rng.permutation(len(group)):
        character = group[index]
        families.setdefault(base_letter(character.codepoint), []).append(character)
    for base, family in families.items():
        family.sort(key=lambda character: chr(character.codepoint) != base)  # the plain one first
    # A family of one has no fine-grained pair: those come last. Non-letters are one family.
    queue = sorted(families.values(), key=lambda family: len(family) == 1)
    chosen: list[Character] = []
    while len(chosen) < count:
        for family in queue:
            for _ in range(min(FAMILY, len(family), count - len(chosen))):
                chosen.append(family.pop(0))
    return sorted(chosen, key=lambda character: character.codepoint)


@dataclass
class Artist:
    """Draws planned images with a pool of processes; what is drawn does not depend on how many there are."""

    seed: int
    characters: list[Character]
    run: Callable

    def plan(self, split: str, labels: Iterable[int], per_class: int, held_out: bool = False) -> pd.DataFrame:
        """Rows id, label, face: every class `per_class` times, its typefaces in turn.

        held_out: use the typefaces that are never trained on; without it those that are, or, for a
        character in none of them, whatever it is in.
        """
        rows = []
        for label in labels:
            character = self.characters[label]
            faces = character.held_out_faces if held_out else character.trained_faces or character.faces
            rows += [(int(label), faces[i % len(faces)]) for i in range(per_class)]
        plan = pd.DataFrame(rows, columns=["label", "face"])
        plan.insert(0, "id", ids(split, len(plan)))
        return plan

    def images(self, name: str, plan: pd.DataFrame, ranges: rendering.Ranges) -> Iterator[np.ndarray]:
        """The planned images, chunk by chunk: uint8 [at most CHUNK, 32, 32, 1]."""
        faces, labels = plan["face"].tolist(), plan["label"].tolist()
        styles = plan["style"].tolist() if "style" in plan else ["plain"] * len(plan)
        jobs = []
        for chunk, start in enumerate(range(0, len(plan), CHUNK)):
            rows = slice(start, start + CHUNK)
            codepoints = [self.characters[label].codepoint for label in labels[rows]]
            stream = [self.seed, zlib.crc32(name.encode()), chunk]
            jobs.append((stream, faces[rows], codepoints, styles[rows], ranges))
        done = self.run(draw_chunk, jobs)
        yield from tqdm(done, total=len(jobs), desc=f"drawing {name}", unit="chunk", mininterval=2)

    def write(self, writer: DatasetWriter, name: str, plan: pd.DataFrame, ranges=rendering.NATURAL) -> None:
        """Draw a split and write it."""
        shape, labels = (len(plan), rendering.SIZE, rendering.SIZE, 1), plan["label"].to_numpy(np.int64)
        with writer.create(name, shape, labels, plan.drop(columns="label")) as out:
            for chunk, images in enumerate(self.images(name, plan, ranges)):
                out[chunk * CHUNK :][: len(images)] = images


def draw_chunk(job: tuple) -> np.ndarray:
    """One chunk of images from a generator of its own."""
    stream, faces, codepoints, styles, ranges = job
    return rendering.draw(faces, codepoints, np.random.default_rng(stream), ranges, styles)
