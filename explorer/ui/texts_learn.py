"""Words of the Learn tab around the lessons, which have their own (explorer/lessons/)."""

LEARN = "How does a language model become an embedding model?"
LEARN_HELP = (
    "Eight short lessons on the shipped checkpoints. Each asks what you expect, then measures it here and now; you can look "
    "at it yourself in the other tabs, and test a claim of the paper. Needs no network."
)
LESSON = "Lesson"
EXPECT_FIRST = "Choose what you expect first"
REVEAL = "See what happens"
LOOK = {"compare": "Look at it in Compare", "layers": "Look at it in Layers"}
YOURS = "You expected"
RIGHT = "That is what happens."
WRONG = "What happens is"
CLAIM = "A claim of the paper to reproduce"
WHERE = "Test it on"
WHERE_CHOICES = (
    ("everyday: 197 passages, some seconds", "everyday"),
    ("python-stdlib: thousands of documents; the first time about a minute a variant", "python-stdlib"),
)
TEST = "Test the claim"
ONE_TRAINING = "One training of each design: this speaks of these checkpoints. What several seeds say of the designs stands in Study."
LINK = "Link to this lesson"
NEXT = "Next lesson"
GLOSSARY = "Glossary"
GLOSSARY_FIND = "Find a word"
NO_WORD = "No word of the glossary has that in it."
SAME_BY = "The same on the command line"
