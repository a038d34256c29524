"""What `import router` costs in a fresh process, compiled before: `python -m benchmarks.imports`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from functools import partial

from benchmarks.common import interleaved, median, ms, p95, print_table

ROUNDS = 15
HEAVY = ("google.generativeai", "tiktoken", "pandas", "numpy", "sqlalchemy", "streamlit", "requests", "starlette")
_TIME = "import time; started = time.perf_counter(); import {}; print(time.perf_counter() - started)"
_PULLED_IN = "import sys, router; print(*(name for name in {} if name in sys.modules))"


def main() -> None:
    """Measure and print."""
    modules = [name for name in ("httpx", "router", "litellm") if importlib.util.find_spec(name)]
    with tempfile.TemporaryDirectory() as compiled:
        contenders = {name: partial(import_time, name, compiled) for name in modules}
        times = interleaved(contenders, ROUNDS, warm_up=2)
        heavy = run(_PULLED_IN.format(HEAVY), compiled)
    base = median(times["httpx"])
    rows = [
        [f"import {name}", ms(median(taken)), ms(p95(taken)), f"{(median(taken) - base) * 1000:+.0f}"]
        for name, taken in times.items()
    ]
    print_table(f"Import in a fresh process ({ROUNDS} each)", ["", "median ms", "p95 ms", "ms over httpx"], rows)
    print(f"\nHeavy modules that `import router` pulled in: {heavy or 'none'}")


def import_time(module: str, compiled: str) -> float:
    """Seconds."""
    return float(run(_TIME.format(module), compiled))


def run(code: str, compiled: str) -> str:
    """What a new interpreter prints. It keeps bytecode in the folder `compiled`, as an installed package has it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=env | {"PYTHONPYCACHEPREFIX": compiled}
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
