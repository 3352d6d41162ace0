"""`vows-edge export check`: compare what this CPU computes with the vectors recorded in a bundle."""

import argparse
from pathlib import Path

import numpy as np

from runtime.models.bundle import Bundle
from runtime.models.installed import PACKAGED, TEXT_ENCODER
from runtime.models.text_encoder import MIN_COSINE_TO_RECORDED, TextEncoder

DESCRIPTION = """\
Embed the recorded texts of a bundle in each of its encodings on this CPU and print the lowest cosine to the vectors
recorded at export and to fp32, and how many vectors are the recorded ones to the last bit. s8 (int8 weights) is
expected to fail on x86 without VNNI, where the runtime uses u8 (uint8 weights). Exit status 1 when no encoding agrees.
Another CPU can be tried with an emulator: qemu-x86_64-static -cpu Haswell $(which python) -m export check"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "check",
        help="compare this CPU with the recorded vectors of a bundle",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, nargs="?", default=PACKAGED / TEXT_ENCODER, help="default: %(default)s")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    bundle = Bundle.load(options.bundle, kind="text-encoder")
    golden = bundle.golden()
    recorded = np.asarray([text.quantised for text in golden], np.float32)
    fp32 = np.asarray([text.fp32 for text in golden], np.float32)
    agree = False
    for encoding in sorted(bundle.manifest.encodings):
        encoder = TextEncoder(bundle, encoding)
        vectors = np.stack([encoder.embed(np.asarray(text.input_ids, np.int32)) for text in golden])
        to_recorded = np.einsum("td,td->t", vectors, recorded).min()
        to_fp32 = np.einsum("td,td->t", vectors, fp32).min()
        same = int((vectors == recorded).all(axis=1).sum())
        agree |= bool(to_recorded >= MIN_COSINE_TO_RECORDED)
        print(
            f"{encoding}: lowest cosine to the recorded vectors {to_recorded:.6f}, to fp32 {to_fp32:.6f}; "
            f"{same} of {len(golden)} identical"
        )
    return 0 if agree else 1
