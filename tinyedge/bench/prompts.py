"""What the bench asks: a fixed, named set of prompts, so that two reports are about the same work.

Changing a prompt changes every figure: give the set a new name then. Two of eight prompts are long, so
more than 5 % of the samples are, and the p95 is that of a long prompt rather than of a short one.
"""

PROMPT_SET = "bilingual-8/1"

PROMPTS = {
    "en-word": "Hello",
    "es-word": "Hola",
    "en-phrase": "Once upon a time there was",
    "es-phrase": "Había una vez en un pueblo",
    "en-sentence": "She opened the window, looked at the quiet street for a while, and then she said that",
    "es-sentence": "Abrió la ventana, miró un rato la calle tranquila y después dijo en voz baja que",
    "en-paragraph": (
        "The old lighthouse stood at the end of the road, where the wind never rested. Every evening the"
        " keeper climbed the stairs with a lamp in his hand, counted the ships that came home, and wrote"
        " their names in a book. One night, when the sea was white with foam, he saw a small boat that"
        " was in no book at all, and he"
    ),
    "es-paragraph": (
        "El viejo molino estaba junto al río, donde los niños jugaban en verano. Todas las mañanas el"
        " molinero abría la puerta, saludaba a los vecinos y preguntaba por la cosecha. Un día, cuando el"
        " agua bajaba más clara que nunca, encontró entre las piedras una llave de hierro que nadie en el"
        " pueblo había visto, y entonces"
    ),
}
