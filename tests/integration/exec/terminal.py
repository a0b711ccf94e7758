"""A terminal of its own for a program: waits for what it says, and types.

Arguments: the steps as JSON, then the program and its arguments. A step is a text that is waited for, {"type": TEXT}, or
{"type": TEXT, "until": TEXT}: typed again every three seconds until the other text comes, as people do.
Prints what the program said, and ends with its exit code.
"""

import json
import os
import pty
import select
import signal
import sys
import time

steps, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    # Whoever starts the tests may ignore signals, and a process keeps what it was started with.
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGTSTP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(command[0], command)

said = b""
# A step that never comes must not hold the tests.
deadline = time.monotonic() + 15


def hear(longest=None):
    """Whether there is more to hear; None if nothing came for so long."""
    global said
    left = deadline - time.monotonic()
    if longest is not None and left > longest and not select.select([terminal], [], [], longest)[0]:
        return None
    if left <= 0 or not select.select([terminal], [], [], left)[0]:
        print(said.decode(errors="replace"), "\nwaited in vain for", steps[0] if steps else "the end")
        sys.exit(99)
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        piece = b""
    said += piece
    return bool(piece)


seen = 0
while steps:
    step = steps[0]
    if isinstance(step, dict):
        os.write(terminal, step["type"].encode())
        if "until" in step:
            wanted = step["until"].encode()
            while (at := said.find(wanted, seen)) < 0 and hear(3):
                pass
            if at < 0:
                continue
            seen = at + len(wanted)
        steps.pop(0)
        continue
    at = said.find(step.encode(), seen)
    if at >= 0:
        seen = at + len(step)
        steps.pop(0)
    elif not hear():
        print(said.decode(errors="replace"), "\nended before", step)
        sys.exit(98)
while hear():
    pass
print(said.decode(errors="replace"))
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
