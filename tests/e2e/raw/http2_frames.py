"""Just enough HTTP/2 to send a gRPC request by hand, right or wrong. Only the standard library is used."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field without index and without Huffman code (strings below 127 bytes)."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request_headers(path: str, **more: str) -> bytes:
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "127.0.0.1",
        "content-type": "application/grpc", "te": "trailers", **more,
    }
    return b"".join(literal(name, value) for name, value in fields.items() if value)


def message(payload: bytes, claimed: int | None = None) -> bytes:
    """A gRPC message with its length prefix, which may lie."""
    return b"\x00" + struct.pack(">I", len(payload) if claimed is None else claimed) + payload


class Connection:
    """One TCP connection that has sent the HTTP/2 preface."""

    def __init__(self, port: int, preface: bool = True, timeout: float = 10.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; EOFError when the server closes before."""
        parts = b""
        while len(parts) < size:
            try:
                part = self.socket.recv(size - len(parts))
            except ConnectionError:
                part = b""
            if not part:
                raise EOFError
            parts += part
        return parts

    def next_frame(self) -> tuple[int, int, int, bytes]:
        head = self.read(9)
        length = int.from_bytes(head[:3], "big")
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, self.read(length)

    def until(self, *kinds: int, stream: int | None = None) -> tuple[int, int, int, bytes]:
        """Skips frames up to one of `kinds` (on `stream` when given)."""
        while True:
            got = self.next_frame()
            if got[0] in kinds and (stream is None or got[2] == stream):
                return got

    def end_of_stream(self, stream: int) -> tuple[bytes, bytes, str]:
        """(data, header blocks, how it ended: "end", "reset", "goaway" or "closed") of a stream."""
        data, headers = b"", b""
        try:
            while True:
                kind, flags, number, payload = self.next_frame()
                if kind == GOAWAY:
                    return data, headers, "goaway"
                if number != stream:
                    continue
                if kind == RST_STREAM:
                    return data, headers, "reset"
                if kind == DATA:
                    data += payload
                if kind in (HEADERS, CONTINUATION):
                    headers += payload
                if kind in (DATA, HEADERS) and flags & END_STREAM:
                    return data, headers, "end"
        except EOFError:
            return data, headers, "closed"
