"""Other engines that serve the same model, measured the same way: an engine is a folder here.

A folder has `requirements.txt` (exact versions, installed in a virtual environment of its own) or `source.txt` (the
package whose source `build.py` compiles), and either `engine.py` (`load`: a model folder → a function from texts to
unit vectors float32 [n, 384], served by `front.py`) or `server.py` (how its own server is started and called).
`build.py` converts the weights where the engine wants a format of its own. `engines.py` lists them.
"""
