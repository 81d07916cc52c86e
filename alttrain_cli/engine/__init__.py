"""The only door to unsloth, torch, transformers, trl and peft. Imports none of them at load time."""
