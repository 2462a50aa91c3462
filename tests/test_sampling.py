"""Which classes are chosen and which images are drawn: by name and seed, whatever the order of a listing."""

import numpy as np
import pandas as pd
import pytest

from splits import sampling
from splits.sampling import draw, select_classes
from suite.errors import UserError


def test_every_reason_is_given():
    candidates = pd.DataFrame(
        {"images": [9, 3, 9, 3], "unseen": [True, True, True, False], "leaf": [1, 1, 0, 0]},
        index=["good", "few", "inner", "all"],
    )
    selection = select_classes(candidates, "published", 4)
    assert selection["reason"].to_dict() == {
        "good": "",
        "few": "too few images",
        "inner": "not a leaf",
        "all": "too few images; in ImageNet-1K; not a leaf",
    }
    assert selection.index[selection["kept"]].tolist() == ["good"]
    assert select_classes(candidates, "stated", 4)["kept"].sum() == 2


def test_an_unknown_rule_is_named():
    with pytest.raises(UserError, match=r"did you mean 'stated'\?.*published, stated"):
        select_classes(pd.DataFrame({"images": [1]}), "state", 1)


@pytest.fixture
def items() -> pd.DataFrame:
    return pd.DataFrame({"class_id": list("ab") * 50, "item": [f"{i}.png" for i in range(100)]})


def test_a_draw_has_its_numbers_and_no_item_twice(items):
    result = draw(items, {"query": 3, "database": 20}, seed=0)
    counts = pd.crosstab(result["split"], result["class_id"])
    assert counts.to_dict("index") == {"database": {"a": 20, "b": 20}, "query": {"a": 3, "b": 3}}
    assert not result.duplicated(["class_id", "item"]).any()


def test_a_draw_does_not_depend_on_row_order_or_other_classes(items):
    result = draw(items, {"query": 3, "database": 20}, seed=0).reset_index(drop=True)
    shuffled = items.sample(frac=1, random_state=1)
    again = draw(shuffled, {"query": 3, "database": 20}, seed=0).reset_index(drop=True)
    pd.testing.assert_frame_equal(result, again)
    alone = draw(items[items["class_id"] == "b"], {"query": 3, "database": 20}, seed=0)
    assert alone["item"].tolist() == result.loc[result["class_id"] == "b", "item"].tolist()


def test_a_larger_database_keeps_the_queries_and_another_seed_does_not(items):
    def queries(database, seed):
        result = draw(items, {"query": 10, "database": database}, seed)
        return result.loc[result["split"] == "query", "item"].tolist()

    assert queries(5, 0) == queries(30, 0)
    assert queries(5, 0) != queries(5, 1)


def test_a_draw_is_uniform(items):
    first = [draw(items, {"query": 1}, seed)["item"].tolist() for seed in range(400)]
    counts = np.bincount([int(a.partition(".")[0]) // 2 for a, _ in first], minlength=50)
    chi_square = ((counts - 8) ** 2 / 8).sum()
    assert chi_square < 85.4  # the 0.999 quantile at 49 degrees of freedom


def test_a_draw_names_every_class_that_is_short(items):
    items = pd.concat([items, pd.DataFrame({"class_id": ["c", "d"], "item": ["x", "y"]})])
    with pytest.raises(UserError, match=r"needs 4 items; too few: c \(1\), d \(1\)"):
        draw(items, {"query": 4}, seed=0)
    with pytest.raises(ValueError, match="'x' of class c occurs twice"):
        draw(pd.concat([items, items.tail(2)]), {"query": 1}, seed=0)


def test_item_keys_are_siphash():
    """SipHash-2-4's published vector (key 00…0f, message 00…0e), finished as SplitMix64 does.

    A pandas that hashed otherwise would draw other images from the same seed.
    """
    message = np.array(["".join(map(chr, range(15)))], dtype=object)
    key = "".join(map(chr, range(16)))
    expected = 0xA129CA6149BE45E5
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        expected = (expected ^ expected >> shift) * factor % 2**64
    assert pd.util.hash_array(message, hash_key=key, categorize=False) == expected
    assert sampling.item_keys(message, 1) != sampling.item_keys(message, 2)
    with pytest.raises(UserError, match="seed -1"):
        sampling.item_keys(message, -1)


def test_which_classes_are_unseen_depends_on_seed_and_names_alone():
    names = [f"n{i:08d}" for i in range(20)]
    seen, unseen = sampling.divide(names, 6, seed=0)
    assert sorted(seen + unseen) == names and len(unseen) == 6
    assert sampling.divide(names[::-1], 6, seed=0) == (seen, unseen)
    assert sampling.divide(names, 6, seed=1)[1] != unseen
    assert set(sampling.divide(names, 8, seed=0)[1]) > set(unseen)


def test_a_long_tail_falls_geometrically_from_head_to_tail():
    options = {"stream_head": 64, "stream_tail": 2}
    counts = sampling.long_tail(range(6), options, sampling.stream_generator(0))
    assert list(counts.values()) == [64, 32, 16, 8, 4, 2] and sorted(counts) == list(range(6))
    assert list(counts) != list(sampling.long_tail(range(6), options, sampling.stream_generator(1)))
