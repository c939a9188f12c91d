#!/bin/sh
# How long `edgekit --help` takes: the median of 21 runs, beside an empty Python's.
set -eu
python=${1:-.venv/bin/python}
"$python" - "$python" <<'EOF'
import statistics
import subprocess
import sys
import time

def median_ms(arguments):
    samples = []
    for _ in range(21):
        started = time.perf_counter()
        subprocess.run([sys.argv[1], *arguments], check=True, capture_output=True)
        samples.append((time.perf_counter() - started) * 1e3)
    return statistics.median(samples)

print(f"python -c pass   {median_ms(['-c', 'pass']):6.1f} ms")
print(f"edgekit --help   {median_ms(['-m', 'edgekit', '--help']):6.1f} ms")
EOF
