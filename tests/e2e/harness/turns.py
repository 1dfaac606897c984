"""A slow line that counts how often the two ends wait for each other."""
import select
import socket
import threading
import time

HOLD_SECONDS = 0.03  # bytes of one side that come within it count as said together


class Turns:
    """A TCP proxy in front of `server`. `count` is the round trips so far, on all connections together: how
    often submitd has spoken after it had heard the server's answer, or at first."""

    def __init__(self, server):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.target, self.port = server.port, self.listener.getsockname()[1]
        self.count, self.ends = 0, []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return  # close()
            far = socket.create_connection(("127.0.0.1", self.target))
            self.ends += [near, far]
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        other, last = {near: far, far: near}, far
        try:
            while True:
                # while both speak at once, the side that has the word finishes first
                ready = select.select([near, far], [], [])[0]
                speaker = last if last in ready else ready[0]
                time.sleep(HOLD_SECONDS)
                data = speaker.recv(1 << 20)
                if not data:
                    break
                if speaker is near and last is far:
                    self.count += 1
                last = speaker
                other[speaker].sendall(data)
        except OSError:
            pass  # one end was reset
        for end in (near, far):
            end.close()

    def close(self):
        self.listener.close()
        for end in self.ends:
            end.close()
