"""What the three packages share: the study, where files lie, how they are written, what they record."""
