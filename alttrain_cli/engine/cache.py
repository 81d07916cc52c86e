"""The keys and values of a batch, cut and joined by rows and columns."""

import functools
from collections.abc import Sequence
from typing import Any

from alttrain_cli.engine.batch_request import BatchRequest


def can_join(config: Any) -> bool:
    """Whether all the model's memory is keys and values, which can be cut by rows and columns."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def layers_of(cache: Any) -> list[Any]:
    """Return (keys, values) a layer, of a cache object or of the tuples that Unsloth returns on a GPU."""
    return [(layer.keys, layer.values) for layer in cache.layers] if hasattr(cache, "layers") else list(cache)


def stack(tensors: list[Any], rows: list[list[int]], width: int, room: int) -> Any:
    """Stack the chosen rows of (rows, heads, columns, size) tensors, their last columns aligned."""
    heads, _, size = tensors[0].shape[1:]
    stacked = tensors[0].new_zeros(sum(map(len, rows)), heads, width + room, size)
    start = 0
    for tensor, chosen in zip(tensors, rows, strict=True):
        columns = min(width, tensor.shape[2])
        stacked[start : start + len(chosen), :, width - columns : width] = tensor[chosen, :, -columns:]
        start += len(chosen)
    return stacked


@functools.cache
def roomy_layer() -> Any:
    """Return the class of a layer with spare columns, which takes keys, values and the columns in use."""
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):  # type: ignore[misc]
        """A layer with spare columns: a new token does not copy all that came before it."""

        def __init__(self, keys: Any, values: Any, width: int) -> None:
            super().__init__()
            self.lazy_initialization(keys, values)
            self._held = keys, values
            self._show(width)

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            start = self.keys.shape[-2]
            width = start + key_states.shape[-2]
            for held, new in zip(self._held, (key_states, value_states), strict=True):
                held[:, :, start:width] = new
            return self._show(width)

        def _show(self, width: int) -> tuple[Any, Any]:
            self.keys, self.values = (held[:, :, :width] for held in self._held)
            return self.keys, self.values

    return RoomyLayer


def begun(requests: Sequence[BatchRequest]) -> Any:
    """Return a cache with what is known of the requests, padded on the left; all go on from one column.

    So the one of which the least is known decides how much is read.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import Cache

    width, unread = (max(getattr(one, name) for one in requests) for name in ("length", "unread"))
    if unread >= width:
        return DynamicCache()
    start = width - unread
    rows = [
        (row, one.known.layers, one.length - unread)
        for row, one in enumerate(requests)
        if one.known and one.length > unread
    ]
    layers = []
    for at in range(len(rows[0][1])):
        pair = []
        for part in range(2):
            sample = rows[0][1][at][part]
            held = sample.new_zeros(len(requests), sample.shape[1], width, sample.shape[3])
            for row, known, count in rows:
                held[row, :, start - count : start] = known[at][part][0, :, :count]
            pair.append(held)
        layers.append(roomy_layer()(*pair, start))
    return Cache(layers=layers)
