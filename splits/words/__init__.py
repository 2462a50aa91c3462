"""Text as token ids: the pieces that words are cut into, and captions as a split."""
