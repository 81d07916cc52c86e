"""The clients of benchmarks/serve.py, in a process of their own: so many requests in flight, all streamed.

    python benchmarks/serve_client.py URL MODEL IN_FLIGHT MAX_TOKENS < prompts.jsonl > replies.jsonl

Each line of the replies has the seconds until the first text and until the end, and the tokens.
"""

import asyncio
import json
import sys
import time
from typing import Any

import httpx


async def ask(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Read one stream to its end."""
    begun, first, usage, text = time.perf_counter(), 0.0, None, ""
    async with client.stream("POST", f"{url}/chat/completions", json=body) as reply:
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                delta = choice["delta"]
                text += (new := delta.get("reasoning_content") or delta.get("content") or "")
                first = first or (time.perf_counter() - begun if new else 0.0)
    assert usage, "the stream ended early"
    seconds = time.perf_counter() - begun
    return {"first": first, "seconds": seconds, "tokens": usage["completion_tokens"], "text": text}


async def main(url: str, model: str, in_flight: str, max_tokens: str) -> None:
    """Ask all prompts."""
    slots = asyncio.Semaphore(int(in_flight))
    limits = httpx.Limits(max_connections=int(in_flight))

    async def one(client: httpx.AsyncClient, prompt: str) -> dict[str, Any]:
        body = {
            "model": model, "temperature": 0, "max_tokens": int(max_tokens), "stream": True,
            "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": prompt}],
        }  # fmt: skip
        async with slots:
            return await ask(client, url, body)

    async with httpx.AsyncClient(limits=limits, timeout=600) as client:
        prompts = [json.loads(line) for line in sys.stdin]
        for reply in await asyncio.gather(*(one(client, prompt) for prompt in prompts)):
            print(json.dumps(reply))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
