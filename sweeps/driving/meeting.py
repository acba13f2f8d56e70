"""Inputs before a sweep: those never seen are walked once, on workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from encoder_bridge.console import Reporter
from sweeps.driving.drive import GetExecutor, outcomes_of
from sweeps.driving.ledger import BadInput, KnownInput, Ledger, signature_of
from sweeps.driving.worker import know_input
from sweeps.executors.base import LOST, Task
from sweeps.plan import InputFile


def meet_inputs(
    files: Iterable[InputFile], folder: Path, executor: GetExecutor, say: Reporter
) -> list[KnownInput | BadInput]:
    """What is known of the inputs; those never seen before are walked once, on workers."""
    ledger = Ledger(folder)
    signatures = {file: signature_of(file) for file in files}
    fresh = {
        signature: file
        for file, signature in signatures.items()
        if not isinstance(signature, BadInput) and signature not in ledger
    }
    errors: dict[str, dict[str, str]] = {}
    if fresh:
        tasks = (Task(signature, know_input, (file,)) for signature, file in fresh.items())
        with say.task("inputs", len(fresh)) as advance, closing(outcomes_of(executor(), tasks)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    errors[outcome.key] = _told(outcome.error)
                elif outcome.value is not None:
                    ledger.add(outcome.key, outcome.value)
                advance(1)
        ledger.save()
    return [_met(file, signature, ledger, errors) for file, signature in signatures.items()]


def _told(error: dict[str, str]) -> dict[str, str]:
    """The error of a walk; a worker that was lost in it says nothing against the input."""
    if error["type"] != LOST:
        return error
    hint = "the input may be sound: the same command reads it again, with --retry failed or without"
    return {**error, "message": f"{error['message']}; {hint}"}


def _met(
    file: InputFile, signature: str | BadInput, ledger: Ledger, errors: Mapping[str, dict[str, str]]
) -> KnownInput | BadInput:
    if isinstance(signature, BadInput):
        return signature
    if signature in errors:
        return BadInput(file, signature, errors[signature])
    return ledger.known(file, signature)
