"""What transformers alone writes, one prompt at a time, without Unsloth: python -m tests.stock FOLDER KIND..."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fake_cuda import COMMITS, LAYERS, NEW_TOKENS, PROMPTS, SWAPPED
from tests.tiny import write_hub_cache, write_model


def main(folder: Path, kinds: Sequence[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from alttrain_cli.structure.template import Template

    found: dict[str, list[str]] = {}
    for kind in kinds:
        write_model(folder / kind, kind, layers=LAYERS)
        model = AutoModelForCausalLM.from_pretrained(folder / kind, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder / kind)
        template = Template.of(tokenizer)
        texts = []
        for prompt in PROMPTS:
            ids = torch.tensor([template.encode_text(template.prompt(prompt))])
            with torch.inference_mode():
                output = model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False
                )
            new = output[0, ids.shape[1] :].tolist()
            texts.append(tokenizer.decode([token for token in new if token != tokenizer.eos_token_id]))
        found[kind] = texts
    write_hub_cache(folder / "hub", SWAPPED, COMMITS, kind="qwen2", layers=LAYERS)
    (folder / "stock.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
