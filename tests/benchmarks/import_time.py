"""What `import kerasnb` costs on top of `import jax`, in CPU seconds."""

import statistics
import subprocess
import sys

CODE = """
import time
began = time.process_time()
import jax
between = time.process_time()
import kerasnb
print(between - began, time.process_time() - between)
"""


def main(runs: int = 7) -> None:
    found = []
    for _ in range(runs):
        result = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
        )
        found.append([float(part) for part in result.stdout.split()])
    jax, own = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"import jax {jax:.2f} s, import kerasnb {own:.2f} s more")


if __name__ == "__main__":
    main()
