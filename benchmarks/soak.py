"""An hour in the life of an annotator: eight people, killed servers, replaced images, an audit.

    python benchmarks/soak.py --minutes 60

People click, accept, paint, delete, undo deletions, relabel and edit the list of labels, all at
once; meanwhile servers are killed with SIGKILL and started again, and images are replaced by others
of the same and of another size. Half of the time the project is a file with one server, half of it
a database with two, if SAMADAPT_TEST_POSTGRES names a PostgreSQL server (its schema
"samadapt_soak" is emptied). At the end every acknowledged object must be in the export as it was
acknowledged last, or be named as drawn on a picture that was replaced; and the log must add up to
the tables. Exits with 1 if anything is missing. Talks to 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from kill_server import SIZE, picture, serve
from soak_people import Ledger, Person

from samadapt.store.export import export_project
from samadapt.store.projects import Project, project_file
from samadapt.store.rebuild import differences, read_log
from samadapt.store.recovery import examine

POSTGRES = "SAMADAPT_TEST_POSTGRES"
_SCHEMA = "samadapt_soak"
_SIZES = (SIZE, SIZE, (96, 144))
_START = 600.0
_OBJECT = re.compile(r", object (\d+): drawn on ")


@dataclass
class Server:
    """One server, at the same port whenever it is started again."""

    context: BaseContext
    arguments: tuple[Any, ...]
    port: int
    process: BaseProcess | None = None
    kills: int = 0

    def start(self) -> None:
        ours, theirs = self.context.Pipe()
        arguments = (*self.arguments, theirs, self.port)
        self.process = self.context.Process(target=serve, args=arguments)  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()
        if not ours.poll(_START):
            sys.exit(f"the server at port {self.port} did not start within {_START:.0f} s")
        try:
            ours.recv()
        except EOFError:
            sys.exit(f"the server at port {self.port} could not be started again: a lock-out")

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None and self.process.pid is not None  # noqa: PT018, S101
        os.kill(self.process.pid, how)
        self.process.join(60)
        self.kills += how == signal.SIGKILL

    def megabytes(self) -> float | None:
        """Memory of its own, None while it is not there."""
        pid = None if self.process is None else self.process.pid
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return None
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return None if found is None else int(found.group(1)) / 1024


@dataclass
class Outcome:
    """What one part of the soak came to."""

    name: str
    seconds: float = 0.0
    requests: dict[int, int] = field(default_factory=dict)
    kills: int = 0
    replaced: int = 0
    acknowledged: int = 0
    exported: int = 0
    deleted: int = 0
    named: int = 0
    missing: list[str] = field(default_factory=list)
    memory: list[tuple[float, int, float]] = field(default_factory=list)
    """(seconds, acknowledged so far, megabytes of the largest server)."""


def main() -> None:
    options = _options()
    postgres = os.environ.get(POSTGRES, "")
    parts = ["sqlite", *(["postgresql"] if postgres else [])]
    if options.project is not None:
        parts = [options.project]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="samadapt-soak-") as place:
        for name in parts:
            seconds = options.minutes * 60 / len(parts)
            outcome = _part(name, Path(place) / name, postgres, options, seconds)
            outcomes.append(outcome)
            _tell(outcome)
    if options.json is not None:
        values = [vars(outcome) for outcome in outcomes]
        options.json.write_text(json.dumps(values, indent=1), encoding="utf-8")
    if any(outcome.missing for outcome in outcomes):
        sys.exit("something that was acknowledged is missing, or a server failed: see above")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--project", choices=["sqlite", "postgresql"], help="only this part")
    parser.add_argument("--images", type=int, default=9)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter", default="online")
    parser.add_argument("--kill-every", type=float, default=45.0, help="seconds, on average")
    parser.add_argument("--replace-every", type=float, default=20.0, help="seconds, on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="a new file for all figures")
    found = parser.parse_args()
    if found.json is not None and found.json.exists():
        parser.error(f"--json {found.json} exists: give the name of a new file")
    return found


def _part(
    name: str, place: Path, postgres: str, options: argparse.Namespace, seconds: float
) -> Outcome:
    folder = place / "images"
    folder.mkdir(parents=True)
    for index in range(options.images):
        picture(index).save(folder / f"{index}.png")
    where: str | Path = project_file(folder) if name == "sqlite" else _emptied(postgres)
    # Servers are forked from a process that has imported everything and has no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kill_server"])
    servers = []
    for _ in range(1 if name == "sqlite" else 2):
        adapters = place / "adapters"
        arguments = (folder, where, options.model, options.adapter, adapters)
        servers.append(Server(context, arguments, _free_port()))
        servers[-1].start()
    outcome = Outcome(name)
    ledger = _work(servers, folder, options, seconds, outcome)
    for server in servers:
        server.end(signal.SIGTERM)
        outcome.kills += server.kills
    outcome.requests = dict(sorted(ledger.requests.items()))
    outcome.missing += ledger.faults
    _audit(where, folder, ledger, outcome)
    return outcome


def _work(
    servers: list[Server],
    folder: Path,
    options: argparse.Namespace,
    seconds: float,
    outcome: Outcome,
) -> Ledger:
    """Let everybody work, and things happen, until time is up."""
    chance = random.Random(options.seed)  # noqa: S311
    ledger, start = Ledger(), time.monotonic()
    until = start + seconds
    threads = []
    for number in range(options.people):
        server = servers[number % len(servers)]
        url = f"http://127.0.0.1:{server.port}"
        person = Person(f"p{number}", lambda url=url: url, ledger, number, until)  # type: ignore[misc]
        threads.append(threading.Thread(target=person.work, daemon=True))
        threads[-1].start()
    next_kill = start + chance.expovariate(1 / options.kill_every)
    next_change = start + chance.expovariate(1 / options.replace_every)
    next_sample = start
    while (now := time.monotonic()) < until:
        if now >= next_sample:
            sizes = [size for server in servers if (size := server.megabytes()) is not None]
            outcome.memory.append((round(now - start, 1), ledger.accepted, max(sizes, default=0)))
            next_sample = now + 5
        if now >= next_change:
            _replace(folder, chance, options.images, outcome)
            next_change = now + chance.expovariate(1 / options.replace_every)
        if now >= next_kill:
            server = chance.choice(servers)
            server.end(signal.SIGKILL)
            server.start()
            next_kill = time.monotonic() + chance.expovariate(1 / options.kill_every)
        time.sleep(0.2)
    for thread in threads:
        thread.join(120)
        if thread.is_alive():
            outcome.missing.append("somebody still waits for an answer two minutes after the end")
    outcome.seconds = time.monotonic() - start
    return ledger


def _replace(folder: Path, chance: random.Random, count: int, outcome: Outcome) -> None:
    """Put another picture in the place of one of the first third of the images."""
    index = chance.randrange(max(1, count // 3))
    fresh = folder / ".new.png"
    picture(chance.randrange(10**6), chance.choice(_SIZES)).save(fresh)
    fresh.replace(folder / f"{index}.png")
    outcome.replaced += 1


def _audit(where: str | Path, folder: Path, ledger: Ledger, outcome: Outcome) -> None:
    """Look for everything that was acknowledged."""
    if isinstance(where, Path):
        found = examine(str(where), repair=False)
        outcome.missing += [text for status, text in found.lines if status == "problem"]
    with Project.open(where, create=False) as project:
        if wrong := differences(project, read_log(project)):
            outcome.missing.append(wrong)
        exported = export_project(project, folder, "coco", folder.parent / "export.json")
    document = json.loads((folder.parent / "export.json").read_text(encoding="utf-8"))
    there = {a["id"]: a["segmentation"]["counts"] for a in document["annotations"]}
    numbers = [match.group(1) for line in exported.left_out if (match := _OBJECT.search(line))]
    named = {int(number) for number in numbers}
    outcome.acknowledged = len(ledger.objects)
    ids = Counter(thing["id"] for thing in ledger.objects.values())
    outcome.missing += [f"object {n} answers for {k} keys" for n, k in ids.items() if k > 1]
    for key, thing in ledger.objects.items():
        if thing["id"] in named:
            outcome.named += 1
        elif there.get(thing["id"]) == thing["counts"]:
            outcome.exported += 1
            if thing.get("deleted") and key not in ledger.uncertain:
                outcome.missing.append(f"{key} was deleted, and is there")
        elif thing.get("deleted") or key in ledger.uncertain:
            outcome.deleted += thing["id"] not in there
        else:
            outcome.missing.append(f"{key} was acknowledged as object {thing['id']}")


def _tell(outcome: Outcome) -> None:
    total = sum(outcome.requests.values())
    print(
        f"{outcome.name}: {outcome.seconds:.0f} s, {total} requests, "
        f"{outcome.kills} kills survived, {outcome.replaced} images replaced"
    )
    print(f"  answers by status (0: none): {outcome.requests}")
    print(
        f"  {outcome.acknowledged} objects acknowledged: {outcome.exported} in the export, "
        f"{outcome.named} named as drawn on a replaced image, {outcome.deleted} deleted, "
        f"{len(outcome.missing)} missing or wrong"
    )
    for line in outcome.missing[:20]:
        print(f"  MISSING: {line}")
    step = max(1, len(outcome.memory) // 12)
    curve = [f"{t:.0f} s/{n} accepted: {mb:.0f}" for t, n, mb in outcome.memory[::step]]
    print(f"  memory (MB): {'; '.join(curve)}", flush=True)


def _emptied(postgres: str) -> str:
    """URL of an empty schema of that server."""
    from sqlalchemy import create_engine, make_url, text

    engine = create_engine(make_url(postgres).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {_SCHEMA}"))
    engine.dispose()
    url = make_url(postgres).update_query_dict({"options": f"-csearch_path={_SCHEMA}"})
    return url.render_as_string(hide_password=False)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
