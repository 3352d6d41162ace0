"""Interactions of every source in one schema: arrays sorted by user and time, and a catalogue with text vectors."""
