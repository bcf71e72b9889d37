"""The eight lessons, in their order. Texts only: what is true of the checkpoints is measured, never written here."""

from __future__ import annotations

from ..errors import InputError
from . import experiments, reproduce
from .experiments import BOTH_WAYS, END, LAYERED, LM_END, LM_LAYERED, LM_START, LM_START_BOTH, MEAN
from .lesson import Lesson, Setup

LESSONS = (
    Lesson(
        "pooling",
        "What is pooling?",
        (
            "A transformer gives one vector for every token of a text. Search needs one vector for the whole text. Pooling "
            "is the rule that makes one of many: take the mean of all token states, or only the state of the end token, or "
            "let a small trained network read them.",
            "Here one and the same model, with the same weights, is read twice: by the mean, for which it was trained, and "
            "by its end token, for which it was not.",
        ),
        "For a query, how many of the ten best documents will the two readings share?",
        ("nearly all: eight or more", "about half: four to eight", "few: fewer than four"),
        experiments.pooling,
        (
            "Both readings come from the same states, so they know much the same. What differs is what survives: the mean "
            "keeps a little of every word, the end token keeps what the model happened to gather there. Training with one "
            "pooling makes the states fit that pooling, which is why a design is a pair of model and pooling.",
            "In Compare, look at the ranks that shift between the two columns, then run all queries.",
        ),
        Setup("compare", (MEAN, END), "Why do my eyes water when I chop onions?"),
        "pooling-alone",
        reproduce.on_retrieval,
    ),
    Lesson(
        "last-token",
        "Why does the last token of a causal model know the sentence, and the first not?",
        (
            "With causal attention a token sees itself and what stands before it, never what comes after. Language models "
            "are trained this way, as they guess the next word; SmolLM2, which is read here, is one of them.",
            "Take two sentences that are alike up to their last words, and look at the states of the last layer at two "
            "places: the first token and the end token.",
        ),
        "Under causal attention, which state differs between the two sentences?",
        ("only the first token’s", "only the end token’s", "both", "neither"),
        experiments.last_token,
        (
            "A state can depend only on what its token has seen. The first token has seen nothing but itself, so whatever "
            "follows leaves it as it is; the end token has seen everything. So Model 1 of the paper takes the end token, and "
            "so the multi-layer pooler reads the end token of every layer when attention is causal.",
            "In Compare, search with designs that read the end token and the mean under causal attention.",
        ),
        Setup("compare", (LM_END, LM_START), "My passport was stolen on holiday, how do I get home?"),
        "simple-is-enough",
        reproduce.on_topics,
    ),
    Lesson(
        "attention",
        "What does bidirectional attention change?",
        (
            "With bidirectional attention every token sees the whole text, so every state may carry what comes later, too. "
            "Then a mean over tokens is a mean of states that all know the sentence.",
            "Two variants of one model were trained alike for embedding, on the same pairs in the same order, both with the "
            "mean of the tokens; one has causal attention, the other looks both ways. The model is SmolLM2, which learned with "
            "causal attention to guess the next word; where its two are not here, MiniLM, which learned looking both ways.",
        ),
        "After this training, which one finds the judged documents better?",
        ("the bidirectional one, clearly", "the causal one, clearly", "no clear difference on these queries"),
        experiments.attention,
        (
            "Whether a difference is clear depends on its size and on how many queries there are. A hundred queries on easy "
            "passages leave much to chance; test the claim below on python-stdlib as well, which has more and harder ones.",
            "The first two rows are SmolLM2 as it was pretrained: there, looking both ways is something it never did. "
            "MiniLM was pretrained the other way round; compare its own two, minilm/mean-causal and "
            "minilm/mean-bidirectional.",
        ),
        Setup(
            "compare",
            (LM_START_BOTH, LM_START, BOTH_WAYS, "minilm/mean-causal"),
            "how far away lightning, counting seconds",
        ),
        "attention-alone",
        reproduce.on_retrieval,
    ),
    Lesson(
        "layers",
        "What is in each layer?",
        (
            "A transformer is a stack: every layer reads the states of the one below and writes new ones. The usual poolers "
            "read the last layer alone and throw the others away.",
            "But each layer has states that can be read. Here every layer’s mean (without the first token and special ones), in "
            "a language model that was not trained for embedding, is used by itself as the embedding; and "
            "every layer is asked for the next token: which share does it guess?",
        ),
        "Read alone, which layer finds the most documents?",
        ("one of the first", "one in the middle", "the last one"),
        experiments.each_layer,
        (
            "Low layers are near to the words, high ones to what the model was trained for: the guesses of the next token show "
            "where that is. What helps to guess it need not help to tell texts apart, which is the paper’s reason for reading "
            "all layers. Training for embedding moves both: the right half of the table is a variant that was trained to read all "
            "layers, with bidirectional attention.",
            "In Layers, ask for every layer’s own vector, of this or another corpus.",
        ),
        Setup("layers", (LM_START, LM_LAYERED), "soft egg liquid yolk minutes", LM_START),
        "all-layers",
        reproduce.on_retrieval,
    ),
    Lesson(
        "sinks",
        "Which token holds the mean?",
        (
            "A mean over tokens looks fair: each of T tokens counts 1/T. But states differ in length, and a long one pulls the "
            "mean towards itself. What a token holds of the mean can be told exactly: its state’s part along the mean, as a "
            "share; all shares sum to 1.",
            "In many causal language models the first token’s state is a hundred times longer than the others’. It is called an "
            "attention sink: attention weights sum to 1, and a head that has nothing to read puts its weight on a token that "
            "all others see and that means little. Here the language model is read as pretrained, over all passages.",
        ),
        "In the layer where one token holds most of the mean, how much is that, on average over the texts?",
        (
            "about its even share: less than three times 1/T",
            "several times its even share, but no more than half",
            "more than half: the mean is that token",
        ),
        experiments.sinks,
        (
            "Sinks appear in pretraining once a model has seen enough text (Gu et al. 2025, arXiv 2410.10781): "
            "most language models in use have one. Where there is a sink, the means of any "
            "two texts are nearly the same vector and retrieve little. The rule here: a token is a sink if its state is longer "
            "than ten times the median of the others.",
            "The remedy is to leave the first token out of the mean. Probes by layer do so unless asked, and training can "
            "(Fine-tune, “Tokens of a mean”). The paper takes all tokens; training for embedding then has to mend it. In Layers, "
            "look at the length of every token’s state, for this or another backbone.",
        ),
        Setup("layers", (LM_START, LM_END), "My passport was stolen on holiday, how do I get home?", LM_START),
        "pooling-alone",
        reproduce.on_retrieval,
    ),
    Lesson(
        "mixing",
        "How does multi-layer pooling mix the layers?",
        (
            "The paper’s own proposal reads all layers: a few trained vectors, the latents, look at one state of every layer "
            "and take a weighted sum, a cross-attention with as many keys as there are layers. The weights differ by text.",
            "Its start gave every layer the same weight. Training decided what came of it.",
        ),
        "Averaged over the documents, how are the weights spread after training?",
        ("about evenly", "most of it on the last layer", "most of it on another layer"),
        experiments.mixing,
        (
            "Weights follow what training rewards. A layer that is made for the task gets them; and once nearly all weight is "
            "on one layer, the others hardly take part in training any more, so that it stays there.",
            "In Layers, look at heads and latents: do they all read the same layer? A weight says how much was read, not "
            "what it did: that is the next lesson.",
        ),
        Setup("layers", (LM_LAYERED, LAYERED), "soft egg liquid yolk minutes", LM_LAYERED),
        "trainable-bidirectional",
        reproduce.on_retrieval,
    ),
    Lesson(
        "ablation",
        "Does the weight matter?",
        (
            "A weight is what the pooler gave to a layer; whether the layer mattered is another question. To answer it one "
            "takes the layer away, with all else as it is, and looks at what changes. This is an ablation.",
            "Here the layer with the second largest weight is switched off, for all documents and all queries.",
        ),
        "What happens to the quality of the ranking?",
        ("it falls, clearly", "it rises, clearly", "no clear change"),
        experiments.ablation,
        (
            "Attention is not explanation: a small weight on a long vector may do much, a large one on a vector that all texts "
            "share may do nothing. Only taking away tells, and taking away one layer says nothing of taking away two.",
            "In Layers, switch layers off one by one and watch a document’s rank; then measure all of them over all queries.",
        ),
        Setup("layers", (LM_LAYERED, MEAN), "remove tick safely", LM_LAYERED),
        "all-layers",
        reproduce.on_retrieval,
    ),
    Lesson(
        "significance",
        "Is A better than B?",
        (
            "Two trained variants are compared over all judged queries, and one has the higher mean. It would be odd if two "
            "models came out exactly equal: some difference there always is.",
            "The question is whether other queries of the same kind would show it again. The test here turns the sign of each "
            "query’s difference at random, thousands of times, and counts how often chance alone makes as much.",
        ),
        "Multi-layer and mean pooling, both bidirectional: is the difference more than chance?",
        ("yes, p is below 5 %", "no, p is 5 % or more"),
        experiments.significance,
        (
            "Look at how many queries differ at all: the mean hangs on these alone. And p is no measure of size: with many queries a "
            "difference that nobody would notice is significant, with few a large one is not. Read the interval.",
            "Last, these are two trainings. With other seeds two others would come out; that is why a study trains each design "
            "several times. Its report stands in the tab Study.",
        ),
        Setup("compare", (LAYERED, BOTH_WAYS), "train ticket full refund"),
        "no-single-best",
        reproduce.everywhere,
    ),
)


def lesson(id: str) -> Lesson:
    """The lesson of that id. Raises `InputError` naming the valid ones."""
    for one in LESSONS:
        if one.id == id:
            return one
    raise InputError(f"no lesson '{id[:40]}'; there are: {', '.join(one.id for one in LESSONS)}")
