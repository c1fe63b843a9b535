"""All benchmarks one after the other, in less than ten minutes; each file can be run by itself, too."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SUBJECTS = ("footprint", "posting", "tree", "batches", "reading", "categories", "balances_in_time")


def main() -> None:
    """Run each subject in a process of its own; fail at the end if one of them did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pgledger-url", help="of a database in which pgledger is installed")
    arguments = parser.parse_args()
    commands = [[f"{subject}.py"] for subject in SUBJECTS]
    commands.append(["pgledger.py", *(["--pgledger-url", arguments.pgledger_url] if arguments.pgledger_url else [])])
    began = time.monotonic()
    failed = []
    for name, *options in commands:
        if subprocess.run([sys.executable, HERE / name, *options], check=False).returncode:
            failed.append(name)
    print(json.dumps({"measurement": "all", "value": round(time.monotonic() - began), "unit": "seconds"}))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
