"""The clients of benchmarks/serve.py, in a process of their own: so many requests in flight, all streamed.

    python benchmarks/serve_client.py HOST PORT MODEL

Each line of the input is a load: {"prompts": [...], "in_flight": N, "max_tokens": N}. Its line of the output
has the seconds from the first request to the last answer, the seconds of the processor that this process used
for them, and for each prompt the seconds until its first event, and its tokens. The server sends that event
with the first token; its text may come later, because a marker of reasoning is no text. Bare sockets, no HTTP
library: on a machine with few cores the clients' work would be measured with the server's.
"""

import asyncio
import json
import sys
import time
from asyncio import StreamReader, StreamWriter
from typing import Any

HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
    "Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
)


class Client:
    """One connection, which is kept for all requests of a load."""

    def __init__(self, host: str, reader: StreamReader, writer: StreamWriter) -> None:
        self._host, self._reader, self._writer = host, reader, writer

    @classmethod
    async def of(cls, host: str, port: str) -> "Client":
        """Connect."""
        return cls(host, *await asyncio.open_connection(host, int(port)))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and read its stream to the end."""
        data = json.dumps(body).encode()
        begun, first, usage = time.perf_counter(), 0.0, None
        self._writer.write(HEAD.format(host=self._host, size=len(data)).encode() + data)
        status = await self._reader.readline()
        assert b" 200 " in status, status
        while (line := await self._reader.readline()) != b"0\r\n":  # the last chunk of the body
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - begun
                usage = json.loads(line[6:])["usage"] if b'"usage"' in line else usage
        await self._reader.readline()
        assert usage, "the stream ended early"
        return {"first": first, "tokens": usage["completion_tokens"]}


async def load(clients: list[Client], model: str, prompts: list[str], max_tokens: int) -> list[Any]:
    """Let each client send its next prompt when it has read its answer."""
    replies: list[Any] = [None] * len(prompts)
    left = iter(enumerate(prompts))
    settings: dict[str, Any] = {
        "model": model, "temperature": 0, "max_tokens": max_tokens, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip

    async def work(client: Client) -> None:
        for at, prompt in left:
            messages = [{"role": "user", "content": prompt}]
            replies[at] = await client.ask({**settings, "messages": messages})

    await asyncio.gather(*map(work, clients))
    return replies


async def main(host: str, port: str, model: str) -> None:
    """Measure one load per line."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wanted = json.loads(line)
        clients = [await Client.of(host, port) for _ in range(wanted["in_flight"])]
        begun, computed = time.perf_counter(), time.process_time()
        replies = await load(clients, model, wanted["prompts"], wanted["max_tokens"])
        seconds, cpu = time.perf_counter() - begun, time.process_time() - computed
        for client in clients:  # the server closes a connection that is idle for long
            client.close()
        print(json.dumps({"seconds": seconds, "cpu": cpu, "replies": replies}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
