"""Words of the Study tab."""

STUDY = "Which design is truly better?"
STUDY_HELP = (
    "A study trains every design with every seed on the same data with one configuration, scores all of them on the same "
    "tasks, and tests which differences are more than chance in data or training. Below is the report of a finished "
    "one; make your own at the end of this page."
)
CHOICE = "Study"
CHOICE_INFO = "yours and the shipped ones; or type the folder of a study made on the command line and press Enter"
NONE = "No study yet. Make one below."
SHIPPED = (
    "Shipped with the app: opened as it was written, nothing is computed. Its command is in checkpoints/README.md."
)
FOUND = "Opened as it was written, nothing is computed."
NOT_YET = "No run is finished yet: the report appears with the first one."

SHELF = "Put its variants on the shelf"
SHELF_NOT = "Its variants were not kept"
ON_SHELF = "{what} on the shelf now: choose what to compare in the sidebar, then search in Compare."

NEW = "Make a study of your own"
NEW_HELP = (
    "All settings below hold for every design, so that nothing but the design differs. Time grows with designs × seeds; "
    "runs go on when this page is closed, and a study that was stopped goes on where it was."
)
WHERE = "A new study, or more of one"
WHERE_INFO = "designs, seeds, tasks and baselines can be added to a study; its training settings stay"
DESIGNS = "Designs"
DESIGNS_INFO = "the paper’s five; mean pooling stands beside them as the simple yardstick"
SEEDS = "Seeds"
SEEDS_INFO = "one training of each design a seed; fewer than 2 tell nothing of chance, 3 little, 5 more"
TASKS = "Tasks that need no download"
FURTHER = "Further tasks"
FURTHER_INFO = "of mteb by name, from the hub unless they lie in the folder below; or own ones: beir:DIR, sts:FILE …"
DATA_DIR = "Local data of official tasks: a folder"
BASELINES = "Baselines"
BASELINES_INFO = "scored beside the designs, not trained; none chosen: the backbone as published, and BM25"
QUESTION = "The question it is to answer (optional, for the report)"
SAMPLE = "At most so many examples a task"
SAMPLE_INFO = "0: all of them; a sample is faster and not comparable with the leaderboard"
ESTIMATE = "Estimate time"
