"""English plurals: the singulars that a word may be the plural of, as far as names of animals and things need it."""

from __future__ import annotations

#: What no rule gives. Many of the first are also written regularly (octopuses), which the rules cover.
_IRREGULAR = {
    "axes": "axis",
    "cacti": "cactus",
    "children": "child",
    "criteria": "criterion",
    "dice": "die",
    "dormice": "dormouse",
    "emus": "emu",
    "feet": "foot",
    "fungi": "fungus",
    "geese": "goose",
    "gladioli": "gladiolus",
    "gnus": "gnu",
    "hippopotami": "hippopotamus",
    "kudus": "kudu",
    "larvae": "larva",
    "lice": "louse",
    "men": "man",
    "mice": "mouse",
    "narcissi": "narcissus",
    "nuclei": "nucleus",
    "octopi": "octopus",
    "octopodes": "octopus",
    "oxen": "ox",
    "pegasi": "pegasus",
    "people": "person",
    "platypi": "platypus",
    "polyhedra": "polyhedron",
    "teeth": "tooth",
    "titmice": "titmouse",
    "vertices": "vertex",
    "women": "woman",
    "zebus": "zebu",
}
#: Ends after which a name goes on without being the noun: "birds of paradise", "jacks in the pulpit".
_OF = frozenset(("of", "in", "de", "and", "with"))


def singulars(word: str) -> tuple[str, ...]:
    """Return what the case-folded `word` may be a plural of: several where spelling does not tell, none where it is no plural."""
    if word in _IRREGULAR:
        return (_IRREGULAR[word],)
    if len(word) < 3 or not word.isalpha() or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return ()
    found = [word[:-1]]
    if word.endswith("ies") and len(word) > 4:
        found.append(word[:-3] + "y")
    if word.endswith("ves") and len(word) > 4:
        found += [word[:-3] + "f", word[:-3] + "fe"]
    if word.endswith(("ches", "shes", "sses", "xes", "zes", "oes", "uses", "ises")):
        found.append(word[:-2])
    if word.endswith("zzes"):
        found.append(word[:-3])
    return tuple(found)


def singular_names(name: str) -> frozenset[str]:
    """Return `name`, words between single spaces, together with what it may be the plural of: of its last word, or of its head."""
    words = name.split(" ")
    head = next((at - 1 for at in range(1, len(words)) if words[at] in _OF), len(words) - 1)
    forms = {name}
    for at in {head, len(words) - 1}:
        forms |= {" ".join([*words[:at], one, *words[at + 1 :]]) for one in singulars(words[at])}
    return frozenset(forms)
