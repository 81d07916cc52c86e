"""The size of a model, from the numbers of its config.json."""

from alttrain_cli.recipe.strict import Positive, StrictSection


class Shape(StrictSection):
    """The numbers of a model's config.json that decide its size."""

    num_hidden_layers: int = Positive
    hidden_size: int = Positive
    intermediate_size: int = Positive
    num_attention_heads: int = Positive
    num_key_value_heads: int = Positive
    head_dim: int = Positive
    vocab_size: int = Positive
    tie_word_embeddings: bool

    @property
    def query_size(self) -> int:
        """Numbers in the queries of a token, in one layer."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Numbers in the keys of a token, in one layer; its values have as many."""
        return self.num_key_value_heads * self.head_dim

    @property
    def cached_bytes(self) -> int:
        """Memory of the keys and values of a token, in 16 bits."""
        return 4 * self.num_hidden_layers * self.kv_size

    @property
    def linear_parameters(self) -> int:
        """Parameters of the attention and MLP projections, which 4-bit loading quantises."""
        attention = 2 * self.hidden_size * (self.query_size + self.kv_size)
        per_layer = attention + 3 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * per_layer

    @property
    def other_parameters(self) -> int:
        """Embeddings, output head and norms, which stay in 16 bits."""
        tables = 1 if self.tie_word_embeddings else 2
        norms = 2 * self.hidden_size * self.num_hidden_layers
        return tables * self.vocab_size * self.hidden_size + norms

    @property
    def multiplied_parameters(self) -> int:
        """Parameters that each token multiplies: the projections and the output head."""
        return self.linear_parameters + self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters

    def weight_bytes(self, width: int, *, in_4bit: bool) -> float:
        """Memory of the weights, `width` bytes each; in 4 bits with double quantisation, 3.6 in two bytes."""
        return (2 / 3.6 if in_4bit else width) * self.linear_parameters + width * self.other_parameters
