"""The sequence model: data, simulator, model, training and offline evaluation. Imports point one way: data → simulator
→ training → evaluation → ranker → experiments."""
