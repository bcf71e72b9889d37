"""Which prompt stands before which text of a task: one rule, for running and for showing.

prompts = shown(prompted(texts, "Given a question, …", "Retrieval", always=False), symmetric=False)
prompts                                  # {"query": "Instruct: Given a question, …\nQuery: ", "document": ""}
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..instructions import BARE, E5, INSTRUCT, PLACE

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from ..encoder import TextSettings

RULE = (
    "A prompt stands directly before the text; nothing is put between them.",
    "Retrieval and reranking: queries have the variant's query prompt, documents its document prompt.",
    "All other tasks (similarity, pairs, classification, clustering, summaries, bitext): their texts are alike, and "
    "all of them have the query prompt. A sentence-transformers model has its default prompt there, mostly none.",
    "paper (default): a variant that was trained with instructions gets the task's in its query prompt. Its record "
    "says how they are joined (instruction_template); without that, a query prompt with a line “Instruct: …” has that "
    "line replaced. Other variants keep their prompts.",
    f"all: every variant of a backbone gets the task's instruction, where it has no way of its own as {E5!r}. What is "
    "given for a task by --instruct or in a file goes to every variant in the same way.",
    "own (or none): no instruction of a task; every variant keeps its prompts.",
    f"Imported releases of the paper have the template {BARE!r}: prompt + text, as its code has it. In reranking "
    "their documents get the instruction too.",
    "The words of an official task's instruction are mteb's. The paper's code has its own, mostly the same with a "
    'full stop: give them as a file, --instructions FILE.json with {"TASK": "instruction"}.',
)
"""What decides about prompts, for people."""

DOCUMENTS_TOO = ("Reranking",)
"""Types of tasks in which the paper's code puts the prompt before documents as well."""


def prompted(texts: TextSettings, instruction: str, type: str, always: bool) -> TextSettings:
    """Put a task's instruction into the prompts of a variant.

    Args:
        texts: The variant's own settings.
        instruction: The task's; empty for none.
        type: The task's type, as mteb has it.
        always: Also where the variant has no place for one.

    Returns:
        The settings to encode with; the same object where nothing changes.
    """
    if not instruction:
        return texts
    template = texts.instruction_template
    if template:
        prompt = template.replace(PLACE, instruction)
    elif INSTRUCT.search(texts.query_prompt):
        prompt = INSTRUCT.sub(lambda _: f"Instruct: {instruction}\n", texts.query_prompt, count=1)
    elif always:
        prompt = E5.replace(PLACE, instruction)
    else:
        return texts
    documents = prompt if template == BARE and type in DOCUMENTS_TOO else texts.document_prompt
    return replace(texts, query_prompt=prompt, document_prompt=documents)


def shown(texts: TextSettings, symmetric: bool) -> dict[str, str]:
    """Tell what stands before the texts of a task.

    Args:
        texts: The settings to encode with.
        symmetric: Whether the task's texts are all alike.

    Returns:
        {"text": …} for a symmetric task, else {"query": …, "document": …}.
    """
    if symmetric:
        return {"text": texts.query_prompt}
    return {"query": texts.query_prompt, "document": texts.document_prompt}


def shown_of_theirs(model: SentenceTransformer, symmetric: bool) -> dict[str, str]:
    """The same for a sentence-transformers model, which chooses among its own prompts."""
    prompts = {name: prompt or "" for name, prompt in (model.prompts or {}).items()}
    default = prompts.get(model.default_prompt_name or "", "")
    if symmetric:
        return {"text": default}
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return {"query": prompts.get("query", default), "document": document}
