#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a command as the foreground job of a terminal of its own, and acts on it.

usage: terminal.py interrupt|suspend READY_FILE CMD ARGS...

Waits until READY_FILE says "ready". interrupt: Ctrl-C. suspend: Ctrl-Z, continues the job when it has stopped, then Ctrl-C.
Prints what the terminal showed; the exit status is the command's, 128+N for a signal, 99 where it did not stop.
"""

import fcntl
import os
import pty
import select
import signal
import sys
import termios
import time


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_ready(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline() == "ready\n"
    except OSError:
        return False


def main():
    action, ready, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    controller, terminal = pty.openpty()
    # This process plays the shell: leader of a session whose terminal that is.
    if os.fork() != 0:
        _, status = os.wait()
        sys.exit(os.waitstatus_to_exitcode(status))
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        for fd in (0, 1, 2):
            os.dup2(terminal, fd)
        os.execvp(command[0], command)
    if not wait_until(lambda: is_ready(ready), 20):
        os._exit(98)
    if action == "suspend":
        os.write(controller, b"\x1a")
        stopped = []
        wait_until(lambda: stopped.append(os.waitpid(job, os.WUNTRACED | os.WNOHANG)) or stopped[-1][0] == job, 10)
        if stopped[-1][0] != job or not os.WIFSTOPPED(stopped[-1][1]):
            os.kill(job, signal.SIGKILL)
            os._exit(99)
        os.killpg(job, signal.SIGCONT)
        time.sleep(0.2)
    os.write(controller, b"\x03")
    _, status = os.waitpid(job, 0)
    shown = b""
    while select.select([controller], [], [], 0.2)[0]:
        piece = os.read(controller, 65536)
        if not piece:
            break
        shown += piece
    sys.stdout.write(shown.decode(errors="replace"))
    sys.stdout.flush()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


main()
