"""Words of the page, apart from the code that shows them."""

from ..measures import EXPLAIN

TITLE = "Pooling Explorer"
LEAD = (
    "How should a language model become a text-embedding model? Put designs side by side that differ only in pooling "
    "and attention, and search real documents with them."
)

COMPARE = "Which design finds it?"
COMPARE_HELP = (
    "Type what you are looking for. Every active variant ranks the same documents; choose a hit to find it in the "
    "other columns."
)
EXAMPLES = {
    "python-stdlib": (
        "delete a folder and everything in it",
        "wait until several threads reach the same point",
        "how similar are two strings",
    ),
    "mteb-tasks": (
        "questions about banking sorted by intent",
        "find the scientific paper that backs a claim",
        "how alike are two sentences",
    ),
    "everyday": (
        "a sister is waiting for her brother to pay her back",
        "forest animal that stays awake all winter",
        "roast the meat gently, then sear it at the end",
    ),
}
FIRST_QUERY = {name: queries[0] for name, queries in EXAMPLES.items()}

SLOW = (
    "SmolLM2 takes minutes for thousands of documents on a processor, once; for fast search choose variants of MiniLM."
)

SAME_TEXT = "Leave out documents that say what the query says"
SAME_TEXT_INFO = "letter by letter; a query that is a document never finds itself by its id"

MANY = "All queries"
MANY_HELP = (
    "Runs every query of the corpus, or your own, through all active variants. Queries on which the variants disagree "
    "most come first; click one to open it above."
)
NO_JUDGMENTS = (
    "This corpus has no relevance judgments, so quality cannot be measured, only disagreement. "
    "Mark hits above with ✓ or ✗ and run again, or upload qrels with a BEIR folder."
)
NO_QUERIES = "This corpus has no queries of its own. Open the box below, paste or upload some, and run them."
METRIC_HELP = EXPLAIN

OWN = "Bring your own documents"
OWN_HELP = "TXT (one document a line), CSV or TSV, JSON Lines, Parquet, a zipped BEIR folder."
OWN_HERE = "Files stay on this machine."

VARIANTS = "What is on the shelf?"
VARIANTS_HELP = (
    "All variants of a backbone share one copy of its weights; a variant adds only its adapter and pooler. "
    "A variant is loaded when it is first used."
)
ADD_HELP = (
    "A hub id such as Qwen/Qwen3-0.6B, a folder, or as backbone a GGUF file: its path, or hub:OWNER/NAME/FILE.gguf. "
    "It is downloaded only if it is not on this machine; a GGUF file is dequantised once."
)
DEQUANTISING = "Dequantising the GGUF file, once"

SANITY_SENTENCES = (
    "A cat sleeps on the sofa.",
    "A kitten is napping on the couch.",
    "The parliament passed the new budget.",
    "Lawmakers approved next year's spending.",
    "How do I reset my password?",
    "I forgot my login details.",
    "The train to Lyon leaves at nine.",
    "Our departure for Lyon is at 9 a.m.",
    "Photosynthesis turns light into sugar.",
    "Plants make food from sunlight.",
)
"""Five pairs that say the same in other words: a sane variant finds each sentence's partner first."""

FINETUNE = "Can I make it better?"
FINETUNE_HELP = (
    "Trains a LoRA adapter and the pooler of one design on pairs of texts that belong together. Runs go on when this "
    "page is closed, one at a time."
)
NO_RUNS = "No runs yet. Choose a design and data, and start."
NO_LOG = "Nothing has been written yet."
BACKBONE_INFO = "a hub id, a folder or a GGUF file; those listed are embedded and need no network"
BUILT_IN_DATA_LABEL = "Built-in pairs: docstrings of the packages installed here"
TRAIN_FILES = "Your pairs (columns query, positive)"
TOKENS = "Tokens of a mean"
TOKENS_CHOICES = {
    "all": "all tokens, as in the paper",
    "without-first": "without the first and special tokens",
    "text": "the text alone, without the prompt too",
}
TOKENS_INFO = (
    "for designs that read a mean: in many language models the first token’s state is a hundred times longer than the "
    "others’ and would be the mean"
)
OVERLAY = "Lay runs over one another"
OVERLAY_HELP = "Choose two or more runs to see their curves together and in which settings they differ."

FIELDS = "Compare two variants field by field"
EXPORT = "Export for sentence-transformers"
EXPORT_HELP = (
    "The variant chosen above as a folder that sentence-transformers (and so mteb, LangChain and others) loads without "
    "this app, with its model card; the same vectors to 1e-5. Pushing uses your own login (<code>hf auth login</code>) "
    "and sends nothing before you press the button."
)

LAYERS = "What does the pooler read?"
LAYERS_HELP = (
    "A multi-layer pooler looks at one state of every layer; a last-layer pooler looks at every token. Read a query and "
    "a document on one scale, choose a head or a group of latents, and then test below whether it matters."
)
TEST = "Does it matter? Switch layers off"
TEST_HELP = (
    "A layer that is off is masked in the query and in all documents, and the weights of the others are renormalised. "
    "The ranking is that of Compare’s query: its best 100 documents, ordered anew."
)
SWITCH = "All layers are on. Untick one to see the vector move and the ranking change."
WHY = "Why is this document here?"
WHY_HELP = (
    "Layer by layer: score and rank of one document when that layer is switched off. From a hit in Compare, “why here?” "
    "fills this in."
)
WORTH = "All judged queries: what is each layer worth?"
WORTH_HELP = (
    "Without each layer, and with each layer alone, for the chosen multi-layer variant; and, for every active variant, "
    "how well each layer’s own vector retrieves with no pooler at all (a mean without the first and special tokens, and "
    "one of all tokens) and, in a language model, how many next tokens it guesses. The states of all layers are computed "
    "once for a corpus and kept."
)
MANY_TEXTS = "Over many texts"
MANY_TEXTS_HELP = (
    "How each layer’s weight is spread over the documents, a label, or the queries; and how two groups differ."
)
SINKS = "Which token holds the mean?"
SINKS_HELP = (
    "In many language models one token, mostly the first, has a state a hundred times longer than the others’: an "
    "attention sink. A mean over all tokens is then little else than that token."
)
STEPS = "Step by step: one text’s way through the pooler"
MATRIX = "The trained layer matrix E"
DRIFT = "How the weights drifted in training"
CONTRIBUTION = (
    "Contribution: the length of what a layer adds to the attention output, through W_o (Kobayashi et al. 2020), as a "
    "share. Along output: the same, projected on the output; below zero it works against it."
)
