"""Indexes of vectors under comparison, each built and searched in a process of its own by `measure.py`.

`index.py` says what an index is, `engines.py` lists them; the other modules wrap one library each. Their packages are
in the extra `bench`.
"""
