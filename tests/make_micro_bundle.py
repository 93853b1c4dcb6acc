"""Make the bundles that the tests use: tests/data/micro_bundle_fp32 and micro_bundle_int8.

    python -m tests.make_micro_bundle

Needs the `train` extra and less than a minute. The smallest valid model, trained just long enough that greedy
text does not only repeat itself, passes through the real tokenizer training, exporter and quantizer. Run it
again when one of those or the bundle's schema changes.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from bench.bundles import write_unverified_bundle
from tinyedge.core.config import ModelConfig
from tinyedge.export.quantize import quantize
from tinyedge.export.weights import Weights
from tinyedge.text import train_tokenizer
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train.model import TinyTransformer

DATA = Path(__file__).parent / "data"
CONFIG = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
SEED = 2025
SENTENCES = 6000
STEPS = 150
BATCH = 32

ENGLISH = {
    "who": "the teacher|a sailor|my sister|our neighbour|the young doctor|an old farmer|every child|"
    "the baker|her brother|the painter|a stranger|the captain|his grandmother|the gardener|"
    "a musician|the king",
    "did": "found|carried|painted|remembered|lost|bought|opened|watched|followed|repaired|borrowed|"
    "cleaned|described|forgot|brought|protected|touched|counted|imagined|kept",
    "what": "a wooden boat|the broken window|seven letters|the garden gate|some bread|a silver key|"
    "the long road|an empty bottle|two black horses|the kitchen table|a small lamp|"
    "the morning newspaper|a green umbrella|the heavy suitcase|an orange flower|the secret map|"
    "a woollen blanket|the church bell",
    "where": "near the river|in the village|under the bridge|behind the market|on the mountain|by the sea|"
    "at the station|between the trees|inside the castle|along the beach|in front of the school|"
    "next to the well",
    "when": "yesterday|before breakfast|in the winter|on Monday|after the storm|last summer|every evening|"
    "at midnight|once upon a time|during the holidays|while it was raining|two weeks ago",
    "why": "because nobody was listening|so that the others could sleep|although it was already late|"
    "and everyone laughed|but did not say anything|without knowing the reason|which was very kind",
}
SPANISH = {
    "who": "el maestro|una marinera|mi hermana|nuestro vecino|la joven doctora|un viejo granjero|"
    "cada niño|la panadera|su hermano|el pintor|una desconocida|el capitán|su abuela|la jardinera|"
    "un músico|el rey",
    "did": "encontró|llevó|pintó|recordó|perdió|compró|abrió|miró|siguió|arregló|pidió|limpió|describió|"
    "olvidó|trajo|protegió|tocó|contó|imaginó|guardó",
    "what": "un barco de madera|la ventana rota|siete cartas|la puerta del jardín|un poco de pan|"
    "una llave de plata|el largo camino|una botella vacía|dos caballos negros|la mesa de la cocina|"
    "una pequeña lámpara|el periódico de la mañana|un paraguas verde|la maleta pesada|"
    "una flor naranja|el mapa secreto|una manta de lana|la campana de la iglesia",
    "where": "cerca del río|en el pueblo|debajo del puente|detrás del mercado|en la montaña|junto al mar|"
    "en la estación|entre los árboles|dentro del castillo|por la playa|delante de la escuela|"
    "al lado del pozo",
    "when": "ayer|antes del desayuno|en invierno|el lunes|después de la tormenta|el verano pasado|"
    "cada tarde|a medianoche|hace mucho tiempo|durante las vacaciones|mientras llovía|"
    "hace dos semanas",
    "why": "porque nadie escuchaba|para que los demás pudieran dormir|aunque ya era tarde|"
    "y todos se rieron|pero no dijo nada|sin saber la razón|lo que fue muy amable",
}
# Syllables of invented names, which are needed to fill 1000 pieces.
SYLLABLES = (
    "al an ba be bel ca cor da del do el fa fer ga go la lin lo ma mar me mi mon na ni no o pa per"
    " ra ri ro sa sel so ta te ti to tor u va ve vi za"
)
NAMES = 700


def make_names() -> list[str]:
    """Make invented names of three syllables; they are the same each time."""
    draw = random.Random(SEED)
    return ["".join(draw.choices(SYLLABLES.split(), k=3)).capitalize() for _ in range(NAMES)]


def generate_sentences() -> Iterator[str]:
    """Generate some thousand sentences, half of them Spanish; they are the same each time."""
    draw = random.Random(SEED)
    names = make_names()
    for number in range(SENTENCES):
        words = {
            part: draw.choice(texts.split("|")) for part, texts in (ENGLISH, SPANISH)[number % 2].items()
        }
        body = f"{words['who']} {words['did']} {words['what']} {words['where']}"
        body += f" {('for', 'para')[number % 2]} {draw.choice(names)}"
        body += draw.choice(("", f", {words['why']}"))
        first = draw.choice((body, f"{words['when']} {body}", f"{body} {words['when']}"))
        yield first[0].upper() + first[1:] + draw.choice((".", ".", "!", "?"))


def train_model(corpus: list[str], tokenizer: Tokenizer) -> TinyTransformer:
    """Train a model for a few seconds."""
    torch.manual_seed(SEED)
    model = TinyTransformer(CONFIG)
    stream = torch.tensor([token for line in corpus for token in tokenizer.encode_line(line)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        starts = torch.randint(len(stream) - CONFIG.max_seq_length - 1, (BATCH,))
        rows = torch.stack([stream[at : at + CONFIG.max_seq_length + 1] for at in starts.tolist()])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f} after {STEPS} steps")
    return model.eval()


def main() -> None:
    """Write both bundles."""
    corpus = list(generate_sentences())
    pieces = train_tokenizer.train(
        corpus, "the fixture's text", TokenizerConfig(vocab_size=CONFIG.vocab_size)
    )
    model = train_model(corpus, Tokenizer(pieces))
    weights = Weights.from_model(model)
    card = "# A test fixture\n\nMade by tests/make_micro_bundle.py; its text means nothing.\n"
    for precision, quantization in (("fp32", None), ("int8", quantize(weights))):
        target = DATA / f"micro_bundle_{precision}"
        folder = write_unverified_bundle(target, model, weights, quantization, pieces, "fixture", card)
        print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
