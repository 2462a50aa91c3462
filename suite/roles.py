"""What the splits of a study are for: their names, said once."""

# What each split is for. A source yields those it has real data for; evaluations use those that are there.
ROLES = {
    "train": "what methods learn from, and the 1-NN database",
    "val": "the test split of every evaluation on seen classes",
    "v2": "the same classes collected again under a shift",
    "sketch": "the same classes as outlines",
    "r": "renditions of a fifth of the classes",
    "a": "naturally hard images of a fifth of the classes",
    "database": "classes never trained on: what is searched",
    "query": "classes never trained on: what asks",
    "corpus": "documents that are searched, without labels; maps are fitted on them",
    "queries": "what asks for documents of the corpus, with judgements of which are relevant",
    "train_queries": "other queries, with judgements that maps may be fitted to; they are never measured",
    "captions": "what is written about each class, as token ids: row = label",
    "stream": "seen and unseen classes, long-tailed, in the order they arrive",
}
