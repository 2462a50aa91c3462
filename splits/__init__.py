"""Which images or texts exist, and who may see them when.

build.py        builds a study's data; store.py is what they are on disk, and who reads and writes them
sources/        one file per data source; its __init__ says what a source is
sampling.py     which classes are never trained on, which images of a class are drawn: for any source
checks.py       checks of options that several sources have
images/ words/  from files to arrays: finding, listing and decoding images; captions and word pieces
glyphs/         typefaces, and how characters are drawn
imagenet4k.py   chooses ImageNet-4K's classes and images, also without a study; benchmark.py measures it
facts/          what is known about ImageNet's classes
"""
