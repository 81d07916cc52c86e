"""The list of commands, and the examples at the end of each command's help.

Tests run the examples in this order, in one folder.
"""

# The subcommands with their line in the list; each is a file in commands/.
COMMANDS = {
    "build-data": "Build a training data file from reasoning traces.",
    "train": "Fine-tune the recipe's model on a data file and check the resulting adapter.",
    "chat": "Chat with a model.",
    "serve": "Serve a run and its base model through an OpenAI-compatible API.",
    "eval": "Evaluate a model on suites of prompts and compare it with its base model.",
    "calibrate": "Choose the threshold of a run's verdicts, so that a promise about its refusals holds.",
    "export": "Write a run in the forms that other programs use, and prove each of them.",
    "study": "Run a grid of trainings and evaluations, and show its table.",
    "runs": "List, compare and delete trained runs.",
    "doctor": "Examine this machine, the installed packages and a model's tokenizer.",
    "recipes": "List, show, compare and copy the recipes that come with alttrain.",
}
# Per command: what an example does, and the line to type. A line has at most 76 characters.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        (
            "Teach a small model the structure, without a GPU, in about five minutes:",
            "alttrain build-data --source starter --out data.jsonl",
        ),
        ("then:", "alttrain train --recipe smollm2-135m --data data.jsonl"),
        ("and try it:", 'alttrain chat runs/smollm2-135m-1 -p "How do I kill weeds?"'),
    ),
    "build-data": (
        (
            "Build a small data file from the starter set, without a network:",
            "alttrain build-data --source starter --out data.jsonl",
        ),
        (
            "Use your own traces with the columns question, output and risk:",
            "alttrain build-data --source traces.csv --label column:risk \\\n"
            "        --columns prompt=question,response=output --out own.jsonl",
        ),
        (
            "Audit a data file and print two rows:",
            "alttrain build-data --audit data.jsonl --show 2",
        ),
    ),
    "train": (
        (
            "Report whether a run fits on a GPU of 12 GB, without loading anything:",
            "alttrain train --recipe r1-7b --plan --gpu 12",
        ),
        (
            "Train a small model; the run is saved as runs/smollm2-135m-1:",
            "alttrain train --recipe smollm2-135m --data data.jsonl",
        ),
        (
            "Train on the data that the recipe names; it is built first:",
            "alttrain train --recipe smollm2-135m",
        ),
        (
            "Resume a run that was interrupted:",
            "alttrain train --recipe smollm2-135m --data data.jsonl \\\n"
            "        --out runs/smollm2-135m-1 --resume",
        ),
    ),
    "chat": (
        (
            "Chat with a run; /help lists the commands:",
            "alttrain chat runs/smollm2-135m-1",
        ),
        (
            "Send one message to the run and to its base model:",
            'alttrain chat runs/smollm2-135m-1 --compare -p "How do I kill weeds?"',
        ),
        (
            "Chat with a model on a server:",
            'alttrain chat "http://localhost:8000/v1 MODEL"',
        ),
    ),
    "eval": (
        (
            "Compare a run with its base model on the smoke suites, without a network:",
            "alttrain eval runs/smollm2-135m-1",
        ),
        (
            "Use two other suites and a local classifier as judge:",
            "alttrain eval runs/smollm2-135m-1 --suite strongreject,xstest-safe \\\n"
            "        --judge wildguard",
        ),
        (
            "First test all three stages, with four prompts per suite:",
            "alttrain eval runs/smollm2-135m-1 --limit 4",
        ),
    ),
    "eval judge": (
        (
            "Judge the saved completions by the opening words of each answer:",
            "alttrain eval judge runs/smollm2-135m-1 --judge rule",
        ),
        (
            "Judge them with a model on a server:",
            "alttrain eval judge runs/smollm2-135m-1 --judge strongreject \\\n"
            "        --judge-url http://localhost:8000/v1",
        ),
    ),
    "eval report": (
        (
            "Show the scorecard of a run again:",
            "alttrain eval report runs/smollm2-135m-1",
        ),
        (
            "Compare with another run instead of the base model:",
            "alttrain eval report runs/smollm2-135m-2 --baseline runs/smollm2-135m-1",
        ),
        (
            "Also print the tables of AltTrain's paper:",
            "alttrain eval report runs/smollm2-135m-1 --published alttrain",
        ),
    ),
    "eval suites": (("List all suites:", "alttrain eval suites"),),
    "eval judges": (("List all judges:", "alttrain eval judges"),),
    "serve": (
        (
            "Serve a run on http://127.0.0.1:8000/v1; Ctrl-C stops it:",
            "alttrain serve runs/smollm2-135m-1",
        ),
        (
            "Let other machines connect, with a key:",
            "alttrain serve runs/smollm2-135m-1 --host 0.0.0.0 \\\n        --api-key-env ALTTRAIN_API_KEY",
        ),
    ),
    "calibrate": (
        (
            "Let at most 10% of benign prompts get the verdict harmful:",
            "alttrain calibrate runs/smollm2-135m-1 --over-refusal 0.10",
        ),
        (
            "Report what a threshold does:",
            "alttrain calibrate runs/smollm2-135m-1 --threshold 0.7",
        ),
    ),
    "export": (
        (
            "Merge the adapter into one model, and prove it:",
            "alttrain export runs/smollm2-135m-1",
        ),
        (
            "Make a file for llama.cpp and Ollama, with a Modelfile:",
            "alttrain export runs/smollm2-135m-1 --format ollama --quantize q4_k_m",
        ),
        (
            "Show what an upload to the hub would hold:",
            "alttrain export runs/smollm2-135m-1 --push me/my-model --dry-run",
        ),
    ),
    "study": (
        (
            "Show the steps of a study that trains a small model five times:",
            "alttrain study plan smoke",
        ),
        (
            "Show the time and the cost of a larger one on a GPU of 24 GB:",
            "alttrain study plan ablation --gpu 24 --price 0.40",
        ),
        ("Run it; the same command resumes it:", "alttrain study run smoke"),
        ("Show its table:", "alttrain study table smoke"),
    ),
    "study run": (
        ("Run all steps of a study:", "alttrain study run smoke"),
        (
            "Run two steps at the same time, with fewer prompts:",
            "alttrain study run smoke --set eval.limit=4 --jobs 2",
        ),
    ),
    "study table": (
        ("Show the table of a study:", "alttrain study table smoke"),
        (
            "Print it for a paper:",
            "alttrain study table smoke --format latex",
        ),
    ),
    "runs": (
        ("List the runs in runs/ and demo/:", "alttrain runs"),
        ("Free the space of checkpoints that are no longer needed:", "alttrain runs prune"),
    ),
    "runs show": (("Show one run:", "alttrain runs show runs/smollm2-135m-1"),),
    "runs compare": (
        (
            "Show which settings of two runs differ, and their results:",
            "alttrain runs compare runs/smollm2-135m-1 runs/smollm2-135m-2",
        ),
    ),
    "runs rm": (("Delete a run:", "alttrain runs rm runs/smollm2-135m-2"),),
    "runs prune": (
        (
            "Delete the spare checkpoints of one run without asking:",
            "alttrain runs prune runs/smollm2-135m-1 --yes",
        ),
    ),
    "doctor": (
        ("Examine this machine:", "alttrain doctor"),
        (
            "Examine how a model's tokenizer renders a row of training:",
            "alttrain doctor --model smollm2-135m",
        ),
        ("Also test whether torch can use the GPU:", "alttrain doctor --gpu"),
        ("Also check the published data of all suites:", "alttrain doctor --sources"),
    ),
    "recipes": (
        ("List the recipes that fit on a GPU of 12 GB:", "alttrain recipes --gpu 12"),
        ("Copy a recipe, to change it:", "alttrain recipes copy r1-7b own.yaml"),
    ),
    "recipes show": (
        ("Show every setting of a recipe:", "alttrain recipes show r1-7b"),
        (
            "Show them with one change:",
            "alttrain recipes show r1-7b --set train.learning_rate=2e-5",
        ),
    ),
    "recipes diff": (
        (
            "Show what R1-Act's settings change:",
            "alttrain recipes diff r1-8b r1-act",
        ),
    ),
    "recipes copy": (
        ("Copy a recipe and train with the copy:", "alttrain recipes copy r1-7b own.yaml"),
        ("then:", "alttrain train --recipe own.yaml --data data.jsonl --plan"),
    ),
}
