"""Fine-tuning: memory plan, micro-batches, trainer, canary, checks, run summary."""
