"""Words of the Evaluate tab."""

EVALUATE = "Is it truly better?"
EVALUATE_HELP = (
    "Scores variants on tasks whose answers are known, and tests whether the differences could be chance. Runs go on "
    "when this page is closed; what is finished is kept when you stop one."
)
VARIANTS_INFO = "the active ones of the sidebar, until you choose others"
BUILT_IN = "Tasks that need no download"
SMALL = "Small official tasks, by type; from the hub unless they lie in your folder"
FURTHER = "Further tasks of mteb, by name"
FURTHER_INFO = "any text task; NAME@SPLIT/SUBSET for another split or subset, as in XQuADRetrieval@validation/de"
DATA_DIR = "Local data of official tasks: a folder"
DATA_DIR_INFO = "one folder a data set, named as on the hub (stsbenchmark-sts); press Enter to look into it"
OWN = "Your own data"
OWN_HELP = (
    "A BEIR folder or zip (documents, queries, judgments), labelled texts (columns text, label), or scored pairs "
    "(sentence1, sentence2, score), as CSV, TSV, JSON Lines or Parquet. A corpus of the library that has judged queries "
    "goes by its name. Files stay on this machine."
)
KINDS = (
    ("found out from the data", ""),
    ("retrieval: a BEIR folder, a zip, or a corpus by name", "retrieval"),
    ("classification: labelled texts", "classification"),
    ("clustering: labelled texts", "clustering"),
    ("STS: scored pairs", "sts"),
)
SAMPLE = "At most so many examples a task"
SAMPLE_INFO = "0: all of them. A sample is for a first look: not comparable with the leaderboard"
INSTRUCTIONS = (
    ("as in the paper: to variants trained with one", "paper"),
    ("to every variant", "all"),
    ("none: prompts stay as the variant has them", "own"),
)
INSTRUCT = "Instructions of the chosen tasks, one a line: TASK = instruction"
INSTRUCT_INFO = "mteb’s words, until you change them. A line that you change goes to every variant"
READING = "Reading the list of tasks; the first time takes some seconds …"
MEASURE = "Estimate time"
NO_RUNS = "No evaluation yet. Choose variants and tasks above, and start."
NO_ROWS = "No result yet: rows appear as they finish."
PROBLEMS = "What could not be evaluated"

NOT_COMPARABLE = "a sample, or not the official data; not comparable with the leaderboard."
BEST = "best: the highest score of a task here"
TIED = "tied: not told apart from the best by the paired test, after Holm’s correction"
INTERVAL = "± is half the width of the 95 % interval over the examples of a task"

TESTS = "Could the differences be chance?"
TESTS_HELP = (
    "Every two variants, example by example. p is the chance of such a difference if both were equally good; after "
    "Holm’s correction even one false difference among all pairs is unlikely. Under 5 % it counts as one."
)
WORST = "Where did it go wrong?"
WORST_HELP = "The examples of a task that went worst with a variant. A query can be opened in Compare."
NO_EXAMPLES = "This task’s score is of whole samples of texts, so there are no single examples to show."
