"""Interactions from every source as one schema: arrays sorted by user and time, and a catalogue with text vectors."""
