"""Evaluations, one file each: what is said of a method, from raw outcomes of each test item.

    items(run)     yields Items: a metric of every test item: averaged, paired, frozen and compared
    score(run)     rows of the table, where they are more than the means of the items
    compare(runs)  rows about methods against each other

One of them at least. MEASURES names the measures whose outcomes it is computed from, READS other evaluations
whose items it uses, NEEDS what the data must have beyond images and labels; NAME and WORD are for people.
"""
