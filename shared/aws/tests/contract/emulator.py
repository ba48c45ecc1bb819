"""Runs the emulator on a port until its own standard input ends, which it does when whoever started it is gone."""

import os
import subprocess
import sys
import tempfile
import threading

_, port, region = sys.argv

with tempfile.TemporaryDirectory(prefix="holdfast-contract-") as folder:
    # Nothing of the user's own settings for AWS goes in.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with open(os.path.join(folder, "log"), "w+b") as log:
        emulator = subprocess.Popen(
            [sys.executable, "-m", "hypercorn", "local.gateway:app", "--bind", f"127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=kept
            | {
                "GATEWAY_PORT": port,
                "MINISTACK_HOST": "localhost",
                "MINISTACK_REGION": region,
                "IOT_MTLS_ENABLED": "0",
                "STATE_DIR": os.path.join(folder, "state"),
                "S3_DATA_DIR": os.path.join(folder, "s3"),
                "TMPDIR": folder,
            },
        )
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), emulator.terminate()), daemon=True).start()
        # Killed when it does not end gently; until it is told to, it may run as long as it likes.
        status = emulator.wait()
        if status > 0:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4000:])
            sys.exit(status)
