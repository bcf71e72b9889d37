"""Instructions before texts: the templates that join them, and files of them.

    Instruct: Given a question, retrieve passages that answer it      the template of E5-mistral (Wang et al. 2024)
    Query: how are rainbows made

    Given a question, retrieve passages that answer it.how are rainbows made      the paper's code: prompt + text

A template holds `{instruction}`; what comes out is put before a text with nothing between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import InputError
from .options import without_folders

PLACE = "{instruction}"
E5 = f"Instruct: {PLACE}\nQuery: "
BARE = PLACE
"""No template: the instruction and the text, one after the other.

This is what the paper's code does (`self.prompt + s` in run_mteb.py and run_mteb_retrieval.py); its trainers define the
template of E5 and never use it. It puts the prompt before the queries of retrieval tasks and before all texts of all
other tasks, the documents of reranking tasks among them.
"""

INSTRUCT = re.compile(r"Instruct: .*?\n", re.DOTALL)
"""The line of a prompt in E5's template that holds the instruction."""


def check_template(template: str) -> None:
    """Raise `InputError` for a template without a place for the instruction; none at all is fine."""
    if template and PLACE not in template:
        raise InputError(f"the instruction template {template[:60]!r} has no {PLACE}, where the instruction goes")


def template_of(instructions: Iterable[str]) -> str:
    """Find the template by which a task's instruction takes the place of those that a variant was trained with.

    Args:
        instructions: What stood before the queries, each with whatever ends it.

    Returns:
        E5's template where all have its form, else the bare instruction; empty for none.
    """
    whole = re.compile(re.escape(E5).replace(re.escape(PLACE), ".*?"), re.DOTALL)
    given = set(instructions)
    if not given:
        return ""
    return E5 if all(whole.fullmatch(one) for one in given) else BARE


def read_instructions(file: str) -> dict[str, str]:
    """Read a file of instructions.

    Args:
        file: A JSON file with one object: name of a task or of a data source -> instruction.

    Returns:
        The object.

    Raises:
        InputError: It cannot be read, or holds something else.
    """
    shown = without_folders(file)[:80]
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no file of instructions '{shown}'; check the path") from error
    except OSError as error:
        raise InputError(f"the instructions '{shown}' cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(
            f'the instructions \'{shown}\' are not valid JSON; write {{"NAME": "instruction", …}}'
        ) from error
    if not isinstance(found, dict) or not found or not all(isinstance(text, str) for text in found.values()):
        raise InputError(f'the instructions \'{shown}\' must be one object of texts: {{"NAME": "instruction", …}}')
    return found
