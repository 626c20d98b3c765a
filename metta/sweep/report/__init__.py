"""Report: what was recorded, as tables, files, cards in notebooks, and plots."""
