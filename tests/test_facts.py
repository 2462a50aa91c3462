"""The fact tables agree with what can be recomputed from them, and with published numbers."""

import pytest

from splits import facts


def test_synsets_hold_the_fall_2011_release():
    synsets = facts.synsets()
    assert len(synsets) == 23_547
    assert (synsets["images"] > 0).sum() == 21_841
    assert synsets["images"].sum() == 14_197_114
    assert synsets.loc["n01440764", ["name", "images", "index_1k"]].tolist() == ["tench", 1133, 0]
    assert all(p in synsets.index for parents in synsets["parents"] for p in parents)


def test_the_cached_table_survives_the_callers_edits():
    mine = facts.synsets()
    mine.loc["n01440764", "images"] = 0
    assert facts.synsets().loc["n01440764", "images"] == 1133


def test_imagenet1k_is_in_index_order_with_its_superclasses():
    classes = facts.imagenet1k_classes()
    assert classes.index.tolist() == list(range(1000))
    assert classes["wnid"].is_monotonic_increasing  # the order of a folder listing
    assert classes["unique_name"].is_unique
    assert classes.loc[134, "unique_name"] == "crane (n02012849)"
    assert (classes["superclass30"] > 0).sum() == 467
    assert (classes["superclass"] == "reject").sum() == 533


def test_superclasses_follow_each_synsets_last_parent():
    parents = facts.synsets()["parents"]
    number = {wnid: n for n, wnid in facts.superclasses30()["wnid"].items() if wnid}

    def climb(wnid):
        while wnid not in number and parents[wnid]:
            wnid = parents[wnid][-1]
        return number.get(wnid, 0)

    classes = facts.imagenet1k_classes()
    assert [climb(wnid) for wnid in classes["wnid"]] == classes["superclass30"].tolist()
    assert len(number) == 30
    assert facts.superclasses30()["unique_name"].is_unique  # two are called "vessel"


@pytest.mark.parametrize(("which", "member", "stranger"), [("a", 6, 0), ("r", 1, 0)])
def test_restricted_sets_have_200_classes(which, member, stranger):
    restricted = facts.imagenet1k_classes()[f"in_{which}"]
    assert restricted.dtype == bool and restricted.sum() == 200
    assert restricted[member] and not restricted[stranger]


def test_ancestors_and_leaves_agree():
    synsets = facts.synsets()
    counted = set(synsets.index[synsets["images"] > 0])
    leaves = facts.leaves(counted)
    for wnid in ("n02084071", "n02121808", "n01440764", "n00001740"):  # dog, cat, tench, entity
        above_another = any(wnid in facts.ancestors([other]) for other in counted)
        assert (wnid in leaves) == (wnid in counted and not above_another)
    assert "n02084071" in facts.ancestors(["n02099601"])  # a golden retriever is a dog
    assert "n02099601" not in facts.ancestors(["n02099601"])
    assert facts.leaves({"n02084071", "n02099601"}) == {"n02099601"}


def test_imagenet4k_is_disjoint_from_imagenet1k_by_id_only():
    published = set(facts.synsets().index[facts.synsets()["in_4k"]])
    seen = set(facts.imagenet1k_classes()["wnid"])
    assert not published & seen
    assert sum(not seen.isdisjoint(facts.ancestors([wnid])) for wnid in published) == 358
