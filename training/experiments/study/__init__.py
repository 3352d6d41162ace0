"""The study: which parts of the model earn their place, what published models reach, what simulated worlds teach."""
