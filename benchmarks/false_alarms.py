"""How often a change is seen in an arm that does not change.

    python benchmarks/false_alarms.py [--streams 40] [--length 5000]

Streams of one arm without features, looked at every 20 observations; an alarm is a look that sees a change after one
that saw none. Kinds of outcome: Gaussian, ratings of 0 or 1 with several means, and exponential, which is skewed as
tokens are without their logarithm.
"""

import argparse
from collections.abc import Callable, Mapping

import numpy as np

from conduit.bandits.drift import SIZE, Latest, Past, change
from conduit.bandits.policy import Vector

Chance = np.random.Generator
EVERY = 20
KINDS: Mapping[str, Callable[[Chance, int], Vector]] = {
    "gaussian": lambda chance, n: chance.normal(size=n),
    "0 or 1, mean .5": lambda chance, n: (chance.random(n) < 0.5).astype(float),
    "0 or 1, mean .8": lambda chance, n: (chance.random(n) < 0.8).astype(float),
    "0 or 1, mean .95": lambda chance, n: (chance.random(n) < 0.95).astype(float),
    "exponential": lambda chance, n: chance.exponential(size=n),
}
THRESHOLDS = (4.0, 4.5, 5.0, 5.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--length", type=int, default=5000)
    args = parser.parse_args()
    print("alarms in 10,000 observations, by threshold in standard deviations")
    print(f"{'':18}", *(f"{threshold:6.1f}" for threshold in THRESHOLDS))
    for name, draw in KINDS.items():
        chance = np.random.default_rng(0)
        found = np.zeros(len(THRESHOLDS))
        for _ in range(args.streams):
            found += alarms(draw(chance, args.length))
        rates = found / (args.streams * args.length) * 1e4
        print(f"{name:18}", *(f"{rate:6.2f}" for rate in rates), flush=True)


def alarms(y: Vector) -> Vector:
    """(thresholds,) of one stream."""
    sizes = np.array([0.0, *(size_of_change(y[:n]) for n in range(2 * EVERY, len(y) + 1, EVERY))])
    seen = sizes[:, None] >= np.array(THRESHOLDS)
    return np.asarray((seen[1:] & ~seen[:-1]).sum(axis=0), dtype=np.float64)


def size_of_change(y: Vector) -> float:
    """The largest |z|."""
    n, ones = len(y), np.ones(min(len(y), SIZE))
    past = Past(np.array([[float(n)]]), np.array([y.sum()]), np.array([n, y.sum(), (y**2).sum()]))
    times = np.arange(n, dtype=np.float64)[-SIZE:]
    latest = Latest(times, ones, y[-SIZE:], ones[:, None])
    found = change(past, latest, np.array([y.mean()]), float(y.var()), threshold=0.0)
    return abs(found.z) if found is not None else 0.0


if __name__ == "__main__":
    main()
