"""What `import kerasnb` costs on top of `import jax`, in CPU seconds.

With compiled byte code, which `pip install` makes: compiling the source anew in every
process, as PYTHONDONTWRITEBYTECODE has it, costs 0.3 s more.
"""

import os
import statistics
import subprocess
import sys
import tempfile

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
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", CODE]
        for _ in range(1 + runs):  # the first one compiles
            result = subprocess.run(
                command, capture_output=True, text=True, check=True, env=env
            )
            found.append([float(part) for part in result.stdout.split()])
    found = found[1:]
    jax, own = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"import jax {jax:.2f} s, import kerasnb {own:.2f} s more")


if __name__ == "__main__":
    main()
