"""Hosts for random routes: an adjective, a noun and two letters, as in ``sunny-otter-qx``. Pure."""

from __future__ import annotations

import string

ADJECTIVES = (
    "amber", "ancient", "arctic", "autumn", "azure", "brisk", "calm", "clever", "cosmic", "crisp",
    "curious", "daring", "dapper", "eager", "early", "fancy", "fearless", "fluffy", "gentle",
    "golden", "grateful", "happy", "humble", "icy", "jolly", "keen", "kind", "lively", "lucky",
    "mellow", "merry", "misty", "nimble", "noble", "patient", "plucky", "polite", "quick", "quiet",
    "rapid", "ruby", "shiny", "silent", "silver", "smooth", "snowy", "spry", "sunny", "swift",
    "tidy", "tiny", "velvet", "vivid", "warm", "wild", "wise", "witty", "young", "zany", "zesty",
)  # fmt: skip
NOUNS = (
    "antelope", "badger", "beaver", "bison", "buffalo", "camel", "cheetah", "cougar", "crane",
    "dingo", "dolphin", "eagle", "elk", "falcon", "ferret", "finch", "fox", "gazelle", "gecko",
    "giraffe", "hare", "hedgehog", "heron", "ibex", "impala", "jackal", "jaguar", "kangaroo",
    "koala", "lemur", "leopard", "lion", "llama", "lynx", "marmot", "meerkat", "mongoose", "moose",
    "newt", "ocelot", "okapi", "otter", "panda", "panther", "pelican", "penguin", "puffin",
    "quokka", "rabbit", "raccoon", "raven", "seal", "sparrow", "stork", "swan", "tapir", "tiger",
    "toucan", "walrus", "wombat",
)  # fmt: skip
LETTERS = string.ascii_lowercase


def random_words(number: int) -> str:
    """The words that *number*, which is random, stands for."""
    number, adjective = divmod(number, len(ADJECTIVES))
    number, noun = divmod(number, len(NOUNS))
    number, first = divmod(number, len(LETTERS))
    second = number % len(LETTERS)
    return f"{ADJECTIVES[adjective]}-{NOUNS[noun]}-{LETTERS[first]}{LETTERS[second]}"
