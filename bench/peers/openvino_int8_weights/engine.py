"""OpenVINO with int8 weights: run as the fully quantised one is."""

from bench.peers.openvino_int8.engine import load

__all__ = ["load"]
