#!/usr/bin/env bash
# A value of a hassil list may end in the middle of a word: "open the airport" fills "open the {name} port" with "air".
#
# Version:   hassil 3.13.0, Linux.
# Guess:     a space in a template needs a space in the sentence, so a value is always a whole word, as is each choice in
#            "(car|old) pet". Of two results, recognize_best takes the one that used the longer name: "carpet".
# Reality:   after a list value, the template's next word may follow without a space: a word of the sentence is cut in two.
#            This holds for text lists and for digits ("5lamps"), but not for choices written into the template, number words,
#            or the space in front of a list. recognize_all returns both readings, and recognize_best prefers the wrong one,
#            whichever template is first: it counts the literal parts of the template that matched. best_slot_name="name"
#            finds the whole word. So a device named "car" is switched by a sentence about the carpet.
# Output seen:
#   open the airport                           [{'name': 'air'}]
#   put caraway                                [{'name': 'car', 'verb': 'away'}]
#   the lampis on                              [{'name': 'lamp', 'state': 'on'}]
#   5lamps                                     [{'count': 5.0, 'name': 'lamps'}]
#   fivelamps                                  []
#   clean the carpet, choices in the template  []
#   clean thecar                               []
#   clean the carpet                           [{'name': 'car'}, {'name': 'carpet'}]
#   recognize_best                             {'name': 'car'}
#   recognize_best, templates exchanged        {'name': 'car'}
#   recognize_best, best_slot_name="name"      {'name': 'carpet'}
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check hassil==3.13.0

"$folder/env/bin/python" - <<'PYTHON'
from hassil import Intents, recognize_all, recognize_best

LISTS = {
    "name": {"values": ["air", "car", "carpet", "lamp", "lamps"]},
    "verb": {"values": ["away"]},
    "state": {"values": ["on", "off"]},
    "count": {"range": {"from": 0, "to": 9}},
}


def intents(*templates):
    return Intents.from_dict(
        {"language": "en", "lists": LISTS, "intents": {"Do": {"data": [{"sentences": templates}]}}}
    )


def slots(result):
    return {name: entity.value for name, entity in result.entities.items()}


def readings(sentence, *templates):
    return [slots(result) for result in recognize_all(sentence, intents(*templates))]


def show(label, seen, expected):
    print(f"{label:42} {seen}")
    assert seen == expected, f"changed: {label}"


show("open the airport", readings("open the airport", "open the {name} port"), [{"name": "air"}])
show("put caraway", readings("put caraway", "put {name} {verb}"), [{"name": "car", "verb": "away"}])
show("the lampis on", readings("the lampis on", "the {name} is {state}"), [{"name": "lamp", "state": "on"}])
show("5lamps", readings("5lamps", "{count} {name}"), [{"count": 5, "name": "lamps"}])
show("fivelamps", readings("fivelamps", "{count} {name}"), [])
show("clean the carpet, choices in the template", readings("clean the carpet", "clean the (car|old) pet"), [])
show("clean thecar", readings("clean thecar", "clean the {name}"), [])

templates = ["clean the {name} pet", "clean the {name}"]
show("clean the carpet", readings("clean the carpet", *templates), [{"name": "car"}, {"name": "carpet"}])
show("recognize_best", slots(recognize_best("clean the carpet", intents(*templates))), {"name": "car"})
exchanged = recognize_best("clean the carpet", intents(*reversed(templates)))
show("recognize_best, templates exchanged", slots(exchanged), {"name": "car"})
by_name = recognize_best("clean the carpet", intents(*templates), best_slot_name="name")
show('recognize_best, best_slot_name="name"', slots(by_name), {"name": "carpet"})
PYTHON
