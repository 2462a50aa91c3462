"""One file per data source; `data: {source: <file>}` in a study chooses it.

A source turns its OPTIONS, which a study overlays, into splits with the names of suite/roles.py. It states

    OPTIONS     dict: option → default; "required" where there is none. A comment beside each says what it is
    PROVIDES    what its data have beyond images and labels: ("captions",), ("documents",); default ()
    OUTSIDE     True where its data depend on files that no option names completely; default False

and defines

    build(writer, options, threads)
                writes the class table (store.class_table; seen classes first) and every split it has data for
                with the DatasetWriter, drawing or decoding with so many processes; what comes out depends on
                the options alone. Raises UserError for options that make no data and for files that are
                missing, naming them. The caller calls `writer.finish`, which refuses splits that overlap.
    outside(options)
                with OUTSIDE: a dict of JSON-like facts (suite.files.listing, .outside) about the user's own
                files that decide the data beside the options; when they change, the data are built again.
                Raises UserError for files that are missing.
"""
