"""Ours and other engines with the same model: latency, throughput, vectors, memory, and survival within 256 MiB."""

import json
import os
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cgroup import forget_cached, memory_limit
from bench.closed_loop import closed_loop
from bench.in_process import encoder_process
from bench.peers.compare import (
    GATE,
    LENGTHS,
    SPEED,
    comparison,
    instead_case,
    limit_case,
    memory_case,
    our_cosine,
    ratio_to_fastest,
)
from bench.peers.engines import ENGINES, INSTEAD, OURS_SERVED, SAME_MODEL, Engine, Places, default_places
from bench.peers.launch import READY_S, Peer, install_mib, started_engine
from bench.roofline import roofline_ms
from bench.server import ServerError
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, raw
from bench.texts import TextSource, load_tokenizer
from bench.turn import measuring_turn
from export.stsb import INSTALL, load_stsb, spearman

BROKEN_BELOW = 0.9  # mean cosine to the float32 vectors under which an engine is not timed
TEXTS_A_VISIT = 6  # the first finds cold caches and is not counted
CLIENTS, LOAD_TOKENS, LOAD_LIMIT_S = 8, 32, 30.0
BATCH, BATCH_TOKENS = 32, 256
LIMIT_MIB = 256


def measure_speed(conditions: Conditions, samples: Samples) -> None:
    """All engines at once on one core, one awake at a time: compared with float32 first, then timed in turns.

    Every round gives the same new texts to each, in an order drawn anew. One that fails is left out from there on, with
    a note that says why.
    """
    source = _source(conditions)
    draw = random.Random(conditions.seed)
    with ExitStack() as stack:
        encoder = stack.enter_context(encoder_process(conditions))
        samples.note("encoding", encoder.encoding)
        turns = Turns(samples)
        for engine in SAME_MODEL:
            with turns.noting(engine.name):
                peer = stack.enter_context(
                    started_engine(engine, default_places(), _bundle(conditions), conditions.server_core)
                )
                with peer.awake():
                    peer.server.first_answer(peer.dialect.request(["warm up"]), READY_S)
                turns.join(peer)
        turns.each(draw, partial(_compare, conditions, samples))
        for tokens in LENGTHS:
            turns.each(draw, partial(_warm, source.texts(tokens, 3)))
        for _ in range(conditions.rounds(full=25, quick=2)):
            with measuring_turn({os.getpid()}):
                flops_per_s = encoder.flops_per_s()
                samples.add("gflops", flops_per_s / 1e9)
                for tokens in draw.sample(LENGTHS, len(LENGTHS)):
                    samples.add(f"roofline_ms.{tokens}", roofline_ms(tokens, flops_per_s))
                    turns.each(draw, partial(_time, samples, tokens, source.texts(tokens, TEXTS_A_VISIT)))
        for _ in range(conditions.rounds(full=5, quick=1)):
            texts = source.texts(LOAD_TOKENS, conditions.rounds(full=160, quick=16))
            with measuring_turn({os.getpid()}):
                turns.each(draw, partial(_load, samples, texts))


class Turns:
    """The engines that have not failed; each is measured while the others are stopped."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._peers: dict[str, Peer] = {}

    def join(self, peer: Peer) -> None:
        """Add a stopped engine."""
        self._peers[peer.name] = peer

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """What breaks inside becomes the reason why that engine is not in the table."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError, ServerError, NotMeasured) as error:
            self._peers.pop(name, None)
            self._samples.note(f"failed.{name}", f"{type(error).__name__}: {error}"[:400])

    def each(self, draw: random.Random, measure: Callable[[Peer], None]) -> None:
        """Measure every engine that has not failed, in a new random order."""
        for name in draw.sample(sorted(self._peers), len(self._peers)):
            with self.noting(name), self._peers[name].awake():
                measure(self._peers[name])


def _compare(conditions: Conditions, samples: Samples, peer: Peer) -> None:
    sentences, reference = _read_reference(default_places())
    count = conditions.rounds(full=len(sentences), quick=20)
    vectors = np.concatenate([peer.embed([sentence]) for sentence in sentences[:count]])
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = (vectors * reference[:count]).sum(axis=1) / lengths
    samples.add(f"cosine.{peer.name}", *cosines.tolist())
    if not cosines.mean() >= BROKEN_BELOW:
        raise ValueError(f"broken: mean cosine {cosines.mean():.3f} to float32, at least {BROKEN_BELOW} expected")


def measure_instead(engine: Engine, conditions: Conditions, samples: Samples) -> None:
    """What another model is good for, and its time by length in one turn."""
    source = _source(conditions)
    with started_engine(engine, default_places(), _bundle(conditions), conditions.server_core) as peer:
        peer.server.first_answer(peer.dialect.request(["warm up"]), READY_S)
        _score(conditions, samples, peer)
        with measuring_turn({os.getpid()}):
            for _ in range(conditions.rounds(full=10, quick=2)):
                for tokens in LENGTHS:
                    _time(samples, tokens, source.texts(tokens, TEXTS_A_VISIT), peer)


def _score(conditions: Conditions, samples: Samples, peer: Peer) -> None:
    """How its similarities rank the pairs of STS-B test."""
    pairs = load_stsb("test")
    if pairs is None:
        raise NotMeasured(f"STS-B is absent: {INSTALL}")
    count = conditions.rounds(full=len(pairs.scores), quick=50)
    two = [peer.embed([pairs.first[n], pairs.second[n]]) for n in range(count)]
    vectors = np.stack([both / np.linalg.norm(both, axis=1, keepdims=True) for both in two])  # [pairs, 2, dimensions]
    samples.add(f"stsb.{peer.name}", spearman((vectors[:, 0] * vectors[:, 1]).sum(1), pairs.scores[:count]))


def _warm(texts: list[str], peer: Peer) -> None:
    for text in texts:
        peer.embed([text])


def _time(samples: Samples, tokens: int, texts: list[str], peer: Peer) -> None:
    requests = [peer.dialect.request([text]) for text in texts]
    with peer.server.connect() as connection:
        answers = [connection.timed(request) for request in requests]
    if any(status != 200 for _, status in answers):
        raise RuntimeError(f"answered {[status for _, status in answers]}")
    elapsed = [milliseconds for milliseconds, _ in answers[1:]]
    samples.add(f"ms.{peer.name}.{tokens}", *elapsed)
    samples.add(f"round_ms.{peer.name}.{tokens}", statistics.median(elapsed))


def _load(samples: Samples, texts: list[str], peer: Peer) -> None:
    shared = iter([peer.dialect.request([text]) for text in texts])
    seconds, answers = closed_loop(peer.server.port, [shared] * CLIENTS, LOAD_LIMIT_S)
    wrong = [answer.status for answer in answers if answer.status != 200]
    if wrong:
        raise RuntimeError(
            f"{len(wrong)} of {len(answers)} answers to {CLIENTS} clients were not 200, the first {wrong[0]}"
        )
    samples.add(f"requests_per_s.{peer.name}", len(answers) / seconds)


def measure_memory(engine: Engine, conditions: Conditions, samples: Samples) -> None:
    """Fresh processes: time to the first answer, what is held then, and the peak after a large batch."""
    source, places, bundle = _source(conditions), default_places(), _bundle(conditions)
    places.require(engine)
    samples.add("install_mib", install_mib(engine, places, bundle))
    for number in range(1 + conditions.rounds(full=2, quick=1)):
        with started_engine(engine, places, bundle, conditions.server_core) as peer:
            first_answer_s = peer.server.first_answer(peer.dialect.request(source.texts(16, 1)), READY_S)
            if not number:
                continue  # the first start reads the files and compiles Python
            samples.add("first_answer_s", first_answer_s)
            ready = peer.server.memory()
            samples.add("ready_rss_mib", ready.rss_mib)
            samples.add("ready_anonymous_mib", ready.anonymous_mib)
            for tokens in LENGTHS:
                _warm(source.texts(tokens, 3), peer)
            samples.add("singles_peak_mib", peer.server.memory().peak_rss_mib)
            peer.embed(source.texts(BATCH_TOKENS, BATCH))
            samples.add("batch_peak_mib", peer.server.memory().peak_rss_mib)


def measure_limit(engine: Engine, conditions: Conditions, samples: Samples) -> None:
    """Under a hard limit, files not in the page cache: start, single texts of each length, the large batch."""
    source, places, bundle = _source(conditions), default_places(), _bundle(conditions)
    places.require(engine)
    with memory_limit(LIMIT_MIB) as group:
        forget_cached([places.python(engine).parent.parent / "lib", places.model(engine, bundle)])
        step = "at its start"
        try:
            with started_engine(engine, places, bundle, conditions.server_core, group) as peer:
                peer.server.first_answer(peer.dialect.request(source.texts(16, 1)), READY_S)
                step = "by single texts"
                for tokens in LENGTHS:
                    _warm(source.texts(tokens, 5), peer)
                step = "by the batch"
                peer.embed(source.texts(BATCH_TOKENS, BATCH))
                step = ""
        except (ServerError, OSError, RuntimeError) as error:
            samples.note("ended", str(error)[-300:])
        kills = group.oom_kills()
        samples.add("oom_kills", kills)
        samples.add("survived", float(not step))
        if step:
            samples.note("stopped", f"{'OOM-killed' if kills else 'failed'} {step}")


def _bundle(conditions: Conditions) -> Path:
    return conditions.models / "minilm"


def _source(conditions: Conditions) -> TextSource:
    return TextSource(load_tokenizer(_bundle(conditions)), conditions.seed)


def _read_reference(places: Places) -> tuple[list[str], NDArray[np.float32]]:
    """The sentences on which engines are compared, and their unit vectors float32 [n, 384]. Raises NotMeasured
    when nothing is prepared."""
    file = places.prepared / "reference.npy"
    if not file.exists():
        raise NotMeasured("nothing is prepared: python -m bench.peers")
    sentences: list[str] = json.loads(places.texts.read_text(encoding="utf-8"))["sentences"]
    return sentences, np.load(file)


SUITE = Suite(
    name="peers",
    purpose="comparison with other engines that serve the same model",
    reading="- **Engines.** Each Python engine runs in an environment of its own behind the same minimal HTTP front. "
    "llama.cpp and our server are also measured as they are, with JSON. Left out: fasttextembed, whose "
    "weights are only on a download page, and light-embed, which is onnxruntime, as fastembed is. `python -m "
    "bench.peers` sets the engines up.\n"
    "- **Time.** One thread each, all on one core, one running at a time. Every round gives each engine the "
    "same new texts, in a new order. Shown are medians of the rounds, with minimum and maximum. Requests/s: 8 "
    "clients, texts of 32 tokens; the front passes one request at a time to an engine that is not "
    "asynchronous.\n"
    "- **Quality.** Cosine to the float32 vectors of 200 sentences of STS-B test. Quality gate: a mean of at "
    f"least {GATE.min_mean_cosine} and a minimum of at least {GATE.min_cosine}, which our own bundle must "
    "reach to be exported. An engine that misses it is in *italics*: its speed costs quality. "
    "`ours_to_fastest_in_gate` is the time of our encoder behind the front divided by that of the fastest "
    "other engine with integer weights that passes.\n"
    "- **Memory.** The whole process, fresh, with one malloc heap. The batch of 32 texts of 256 tokens goes "
    "to each library whole. `in 256 MiB`: a hard limit, single texts of each length, then the batch.\n"
    "- **Other models** have other vectors, so they are compared by the task: how well their similarities "
    "rank the pairs of STS-B test. Each is timed by itself.",
    cases=(
        Case(SPEED, measure_speed, limit_s=3600),
        *(Case(instead_case(engine.name), partial(measure_instead, engine)) for engine in INSTEAD),
        *(Case(limit_case(engine.name), partial(measure_limit, engine)) for engine in ENGINES),
        *(Case(memory_case(engine.name), partial(measure_memory, engine)) for engine in ENGINES),
    ),
    metrics=(
        *(
            Metric(f"peers.ours_to_fastest_in_gate.{tokens}", SPEED, "x", "higher", ratio_to_fastest(tokens))
            for tokens in LENGTHS
        ),
        Metric("peers.cosine_mean", SPEED, "cosine", "lower", our_cosine(statistics.fmean)),
        Metric("peers.cosine_min", SPEED, "cosine", "lower", our_cosine(min)),
        Metric("peers.survived_256_mib", limit_case(OURS_SERVED), "share", "lower", raw("survived")),
    ),
    table=comparison,
    independent=True,
    per_cpu=True,
)
