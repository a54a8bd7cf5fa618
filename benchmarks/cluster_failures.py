"""Many workers on one machine, whose nodes fail: is every image done, and what does it cost?

    python benchmarks/cluster_failures.py --nodes 10 --workers 10 --failures 2 --batches 4000

Ray's own cluster utility starts the nodes, each with some workers; a batch sleeps as long as an
image takes. What is measured is the cost of scheduling and of failures, not that of the work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from samadapt.distributed.ray_engine import RayEngine, import_ray, quiet_ray


@dataclass(frozen=True)
class Sleep:
    """Stands for the work on an image."""

    seconds: float

    def start(self) -> Callable[[Sequence[int]], list[int]]:
        def work(batch: Sequence[int]) -> list[int]:
            time.sleep(self.seconds * len(batch))
            return list(batch)

        return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="of each node")
    parser.add_argument("--failures", type=int, default=1, help="nodes that are taken away")
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    ray = import_ray()
    from ray.cluster_utils import Cluster

    with quiet_ray():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nodes = [cluster.add_node(num_cpus=given.workers) for _ in range(given.nodes)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        engine = RayEngine(given.nodes * given.workers)
        done: Counter[int] = Counter()
        started = first = 0.0
        begun = time.perf_counter()
        for result in engine.run(Sleep(given.seconds), [[k] for k in range(given.batches)]):
            if not done:
                first = time.perf_counter() - begun
                started = time.perf_counter()
            done.update(result)
            share = given.failures * sum(done.values()) // given.batches
            if len(nodes) > given.nodes - share:
                cluster.remove_node(nodes.pop(), allow_graceful=False)
        seconds = time.perf_counter() - started
        ray.shutdown()
        cluster.shutdown()
    ideal = given.batches * given.seconds / (given.nodes * given.workers)
    print(
        json.dumps(
            {
                "nodes": given.nodes,
                "workers_of_each": given.workers,
                "failed": given.nodes - len(nodes),
                "batches": given.batches,
                "missing": given.batches - len(done),
                "twice": sum(count - 1 for count in done.values()),
                "seconds_to_first_result": round(first, 1),
                "seconds": round(seconds, 1),
                "of_ideal": round(ideal / seconds, 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
