"""PostgreSQL away for as long as you say, under as many webhooks a second as you say: python tests/faults/outage.py frozen --seconds 20 --rate 500

Starts a PostgreSQL of its own (for failed-over two), the daemon with the defaults but for the limits on connections, and a sender; ends with 0 when every
answer was a 200 in time and every event is in the database once, each call judged as in a run that nobody disturbed."""

import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from support import outage  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.daemon import Daemon, Database  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def run_one(kind: str, arguments: argparse.Namespace) -> bool:
    cluster = Cluster(max_connections="100", fsync="on")
    with tempfile.TemporaryDirectory(prefix="outcomed-outage-") as folder:
        try:
            cluster.start()
            quiet = pathlib.Path(folder) / "quiet"
            quiet.mkdir()
            expected = outage.measure(arguments.binary, quiet, cluster)
            fault = outage.KINDS[kind](cluster, cluster.create())
            # A webhook that waits for its answer has a connection to itself, and all of them come from one address here.
            daemon = Daemon(arguments.binary, pathlib.Path(folder), Database("postgres", fault.url()),
                            ("--migrate", "--max-connections", "4000", "--max-connections-per-address", "4000"))
            try:
                daemon.start()
                report = outage.run(kind, fault, daemon, expected, arguments.seconds, arguments.rate)
            finally:
                fault.close()
            print(report, flush=True)
            daemon.finish()
        finally:
            cluster.close()
    if not report.clean(arguments.within):
        print(report.books, daemon.log()[-3000:], sep="\n", file=sys.stderr)
    return report.clean(arguments.within)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="+", choices=outage.KINDS)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=500, help="webhooks a second")
    parser.add_argument("--within", type=float, default=2.0, help="seconds that the slowest answer may take")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/outcomed")
    arguments = parser.parse_args()
    return 0 if all([run_one(kind, arguments) for kind in arguments.kind]) else 1


if __name__ == "__main__":
    sys.exit(main())
