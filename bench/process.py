"""Child processes of a benchmark: start, wait until they answer, CPU time and memory of all their threads and children."""

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_port():
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Failed(Exception):
    """A program could not be started or stopped answering; the text holds the end of its log."""


class Server:
    """A server in a process group of its own, so that its workers are counted and ended with it.

    What it prints goes to `log`; its standard output to `output`, where that is given.
    """

    def __init__(self, name, command, log, env=None, output=None):
        self.name = name
        self.log = pathlib.Path(log)
        with self.log.open("wb") as errors, pathlib.Path(output or os.devnull).open("wb") as out:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out if output else errors,
                                          stderr=errors, start_new_session=True, env={**os.environ, **(env or {})})

    def wait_ready(self, port, method="GET", path="/", body=None, headers=None, seconds=60):
        """Returns the seconds until the first answer below 300; raises Failed with the log's end."""
        begin = time.monotonic()
        seen = "no connection"
        while time.monotonic() - begin < seconds:
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended with {self.child.returncode}: {self.log_tail()}")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request(method, path, body, headers or {})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status < 300:
                    return time.monotonic() - begin
                seen = f"status {answer.status} {text[:200]!r}"
            except (OSError, http.client.HTTPException) as e:
                seen = repr(e)
            finally:
                connection.close()
            time.sleep(0.01)
        raise Failed(f"{self.name} is not ready after {seconds} s ({seen}): {self.log_tail()}")

    def log_tail(self, length=600):
        return self.log.read_bytes()[-length:].decode(errors="replace").strip()

    def _stats(self):
        """Fields of /proc/PID/stat behind the name, for every process of the group."""
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                fields = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # It ended between the listing and the reading.
            if int(fields[2]) == self.child.pid:
                yield fields

    def cpu_seconds(self):
        """User and system time so far, ended children included."""
        return sum(sum(int(f) for f in fields[11:15]) for fields in self._stats()) / TICKS_PER_SECOND

    def rss_mib(self):
        return sum(int(fields[21]) for fields in self._stats()) * PAGE_BYTES / 2**20

    def open_files(self, but):
        """Open descriptors of the process itself, without its children's: (those of files below `but`, the others)."""
        below = others = 0
        for entry in pathlib.Path(f"/proc/{self.child.pid}/fd").iterdir():
            try:
                target = os.readlink(entry)
            except OSError:
                continue  # Closed between the listing and the reading.
            if target.startswith(f"{but}/"):
                below += 1
            else:
                others += 1
        return below, others

    def stop(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
