"""Measures the runtime against declared targets, keeps every raw sample, and draws the report from them."""
