"""Judges of what clients saw: one property each, no code shared with what they judge."""
