"""Measures what training reaches: against peft, against full fine-tuning, by optimizer and start.

A real pretrained model of 260,032 parameters learns to describe restaurants (E2E). From the
repository, with the material beside it:

    python -m tests.benchmarks.quality --part peft
    python -m tests.benchmarks.quality --part optimizers --only schedule_free

The second way measures one side anew and keeps the other lines of the table.
"""
