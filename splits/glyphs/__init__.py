"""Characters as images: the typefaces, how they are drawn, and a network that says which are hard."""
