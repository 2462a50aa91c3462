"""From files to images: where they are found or fetched, what a folder holds, and how they become splits."""
