"""What the floors above share.

A floor imports from itself and those below it: suite < splits < baselines < analysis.

    study        one validated configuration file, and the jobs that follow from it
    contracts    what files of each kind state of themselves, read without importing them (docs/extend.md)
    modules      where a source file lies and what it imports
    roles        what each split is for
    layout       where the files of a study lie below results/
    files        writing whole files or none
    cli, errors  what every command line shares; messages for people
    machine      cores and memory of this process
    provenance   the conditions a run was made under
"""
