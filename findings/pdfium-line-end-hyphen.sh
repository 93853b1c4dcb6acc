#!/usr/bin/env bash
# PDFium replaces a hyphen at the end of a line and the line break by one control character, and by a different one in each of
# its two functions for text.
#
# Version:   pypdfium2 5.15.2 (PDFium 159.0.8149.0), Linux x86-64.
# Guess:     the hyphen becomes U+0002 (older builds: U+FFFE), the line break after it stays: "exam\x02\r\nple". Nothing is
#            known about a difference between the functions.
# Reality:   get_text_range() returns U+FFFE, get_text_bounded() returns U+0002 at the same place of the same page, and in both
#            the line break is gone. It happens after a letter, before capitals too, and to hyphens that belong to the
#            word ("well-known"); a hyphen after a digit or a space stays, with its line break. A program that drops
#            "unprintable" characters turns "well-known" into "wellknown", and one that counts lines finds one too few.
# Output seen:
#   'an exam-' 'ple.' -> range 'an exam\ufffeple.' bounded 'an exam\x02ple.'
#   'well-' 'known' -> range 'well\ufffeknown' bounded 'well\x02known'
#   'END-' 'Next' -> range 'END\ufffeNext' bounded 'END\x02Next'
#   'from 1914-' '18 on' -> range 'from 1914-\r\n18 on' bounded 'from 1914-\r\n18 on'
#   'He said -' 'and left' -> range 'He said -\r\nand left' bounded 'He said -\r\nand left'
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pypdfium2==5.15.2

"$folder/env/bin/python" - <<'PYTHON'
import pypdfium2


def make_pdf(lines):
    """A page with these lines of text in Helvetica."""
    shown = "BT /F 12 Tf 14 TL 72 700 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        f"<</Length {len(shown)}>>stream\n{shown}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj{content}endobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>startxref\n{len(data)}\n%%EOF"
    return data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


seen = {}
for lines in (("an exam-", "ple."), ("well-", "known"), ("END-", "Next"), ("from 1914-", "18 on"), ("He said -", "and left")):
    page = pypdfium2.PdfDocument(make_pdf(lines))[0].get_textpage()
    seen[lines[0]] = page.get_text_range(), page.get_text_bounded()
    print(*map(repr, lines), "-> range", ascii(seen[lines[0]][0]), "bounded", ascii(seen[lines[0]][1]))
assert seen["an exam-"] == ("an exam\ufffeple.", "an exam\x02ple."), "the marks changed"
assert seen["well-"] == ("well\ufffeknown", "well\x02known"), "a hyphen of the word is kept now"
assert seen["END-"] == ("END\ufffeNext", "END\x02Next"), "capitals are treated differently now"
assert set(seen["from 1914-"]) == {"from 1914-\r\n18 on"}, "a hyphen after a digit is treated differently now"
assert set(seen["He said -"]) == {"He said -\r\nand left"}, "a hyphen after a space is treated differently now"
PYTHON
