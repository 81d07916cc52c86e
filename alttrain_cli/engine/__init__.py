"""The room of unsloth, torch, transformers, trl and peft. None of them is imported at load time."""
