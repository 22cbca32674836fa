"""Makes the sample documents of this folder. Needs `vips` (Debian: libvips-tools) for the images alone.

    python3 tests/data/make_samples.py

All names, numbers and addresses are made up. Files are small on purpose; the bombs are what they are in a few
bytes. Run it again only to change a sample: what `vips` writes differs between its versions.
"""

import hashlib
import os
import random
import struct
import subprocess
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))

STATEMENT = """FIRST MILL BANK
Bank Statement
Account number: 0042 1337 9000
Statement period: 1 March 2026 to 31 March 2026
IBAN: GB00 MILL 0000 0042 1337 90
Opening balance: 1,204.10 EUR

Date        Description                 Debit      Credit
02 March    Water wheel supplies       310.00
09 March    Salary March                          2,900.00
15 March    Grain and flour             87.45
21 March    Card payment                12.00
28 March    Rent                       950.00

Total deposits: 2,900.00    Total withdrawals: 1,359.45
Closing balance: 2,744.65 EUR
Available balance: 2,744.65 EUR"""

INVOICE = """Sluice and Sons Ltd
INVOICE
Invoice number: INV-2026-0117
Invoice date: 14 April 2026
Due date: 14 May 2026
Bill to: Millwright Cooperative, 7 River Lane

Description              Quantity   Unit price      Amount
Oak paddle boards              12        48.00      576.00
Iron fittings                  30         4.50      135.00

Subtotal: 711.00
VAT 20%: 142.20
Total due: 853.20
Payment terms: 30 days. Remit to: Sluice and Sons Ltd"""

LICENSE = """DRIVER LICENSE
STATE OF NOWHERE
DL W1234567
Class C   Endorsements NONE
Restrictions NONE
Name: MILLER, ROWAN
Date of birth: 04/11/1988
Sex: X   Height: 5-10   Eyes: BRN
Issued: 02/01/2024
Expires: 02/01/2032"""

CONTRACT = ["""SERVICES AGREEMENT
This Agreement is made between the parties named below.
WHEREAS the first party owns a mill, and WHEREAS the
second party maintains mills, the parties agree as follows.
1. Terms and conditions. The contract begins on 1 May 2026.
2. Obligations. The second party shall keep the race clear.""",
            """3. Termination. Either party may end this agreement
with a notice of thirty days.
4. Governing law. The law of Nowhere governs this contract.""",
            """IN WITNESS WHEREOF the parties have signed this agreement.
Signature of the first party: ______________
Signature of the second party: _____________"""]


def pdf_objects(objects, trailer=""):
    """A PDF of the given objects, the first of which is the catalogue."""
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, trailer.encode("latin-1"))
    return out + b"startxref\n%d\n%%%%EOF\n" % start


def stream(data):
    packed = zlib.compress(data, 9)
    return b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed) + packed + b"\nendstream"


def text_commands(text):
    lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in text.split("\n")]
    return "BT /F1 12 Tf 60 780 Td 18 TL\n" + "".join(f"({line}) Tj T*\n" for line in lines) + "ET"


def pdf(pages, box="0 0 595 842", trailer=""):
    """A PDF with a text layer, one text per page."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>",
               f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(),
               b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for i, text in enumerate(pages):
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents {5 + 2 * i} 0 R "
                       "/Resources << /Font << /F1 3 0 R >> >> >>".encode())
        objects.append(stream(text_commands(text).encode("latin-1")))
    return pdf_objects(objects, trailer)


def rc4(key, data):
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)


def encrypted_pdf(password):
    """Locked by a user's password (standard handler, revision 2)."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded = (password + padding)[:32]
    ident = hashlib.md5(b"millrace").digest()
    owner = rc4(hashlib.md5(padded).digest()[:5], padded)
    key = hashlib.md5(padded + owner + struct.pack("<i", -4) + ident).digest()[:5]
    user = rc4(key, padding)
    plain = pdf([STATEMENT])
    return plain.replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> "
                         b"/ID [<%s> <%s>]" % tuple(x.hex().encode() for x in (owner, user, ident, ident)))


def png(width, height, rows, depth=8, colour=0):
    """A PNG of filtered `rows`, which may be too few."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def zip_of(name, data):
    """A zip archive with one file."""
    crc = zlib.crc32(data)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    sizes = struct.pack("<III", crc, len(packed), len(data))
    local = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(name), 0) + name + packed
    entry = (b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes +
             struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name)
    return local + entry + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)


def save(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)


def path(name):
    return os.path.join(HERE, name)


def vips(*arguments):
    subprocess.run(["vips", *arguments], check=True)


def speckled(width, height, seed):
    """Sparse dirt as of a scanner's glass, as a PNG of its own."""
    dice = random.Random(seed)
    rows = bytearray(b"\xff" * (width * height))
    for _ in range(width * height // 2000):
        rows[dice.randrange(len(rows))] = 150
    return png(width, height, b"".join(b"\0" + rows[y * width:(y + 1) * width] for y in range(height)))


def scanned(source, turn, out):
    """A page as a scanner gives it: grey, a little turned, blurred and dirty, at 150 dpi."""
    work = [path(f".work{i}.v") for i in range(6)]
    vips("pdfload", path(source), work[0], "--dpi", "150")
    vips("flatten", work[0], work[1], "--background", "255 255 255")
    vips("colourspace", work[1], work[2], "b-w")
    vips("rotate", work[2], work[3], str(turn), "--background", "255")
    vips("gaussblur", work[3], work[4], "0.6")
    vips("linear", work[4], work[5], "0.8", "40", "--uchar")
    width, height = (int(subprocess.run(["vipsheader", "-f", f, work[5]], capture_output=True, check=True).stdout)
                     for f in ("width", "height"))
    save(".dirt.png", speckled(width, height, 7))
    vips("boolean", work[5], path(".dirt.png"), path(out), "and")
    for name in (*work, path(".dirt.png")):
        os.unlink(name)


def make_images():
    scanned("statement.pdf", 0.7, ".scan.v")
    scan = path(".scan.v")
    vips("pngsave", scan, path("statement_scan.png"), "--bitdepth", "4", "--compression", "9", "--palette")
    vips("rot", scan, path(".turned.v"), "d90")
    vips("jpegsave", path(".turned.v"), path("statement_turned.jpg"), "--Q", "60", "--strip")
    vips("tiffsave", scan, path("statement.tiff"), "--compression", "jpeg", "--Q", "50")
    vips("pdfload", path("invoice.pdf"), path(".invoice.v"), "--dpi", "200")
    vips("flatten", path(".invoice.v"), path(".flat.v"), "--background", "255 255 255")
    vips("jpegsave", path(".flat.v"), path("invoice_photo.jpg"), "--Q", "80", "--strip")
    vips("webpsave", path(".flat.v"), path("invoice.webp"), "--Q", "60", "--strip")
    for name in (".scan.v", ".turned.v", ".invoice.v", ".flat.v", "card.pdf"):
        if name == "card.pdf":
            vips("pdfload", path(name), path(".card.v"), "--dpi", "200")
            vips("flatten", path(".card.v"), path(".card2.v"), "--background", "235 240 250")
            vips("jpegsave", path(".card2.v"), path("license_card.jpg"), "--Q", "75", "--strip")
            os.unlink(path(".card.v"))
            os.unlink(path(".card2.v"))
        os.unlink(path(name))
    with open(path("invoice_photo.jpg"), "rb") as file:
        photo = file.read()
    # The camera was held sideways, and says so: orientation 6 in an Exif segment.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    vips("rot", path("invoice_photo.jpg"), path(".side.jpg") + "[Q=80,strip]", "d270")
    with open(path(".side.jpg"), "rb") as file:
        side = file.read()
    os.unlink(path(".side.jpg"))
    save("invoice_exif.jpg", side[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + side[2:])
    save("cut.jpg", photo[:len(photo) // 3])
    save("polyglot.jpg", photo[:2] + b"\xff\xfe" + struct.pack(">H", 40) + b"%PDF-1.4 <html><script>no</script>".ljust(38) +
         photo[2:] + zip_of(b"inside.txt", b"hidden"))


def make():
    save("statement.pdf", pdf([STATEMENT]))
    save("invoice.pdf", pdf([INVOICE]))
    save("license.pdf", pdf([LICENSE]))
    save("contract.pdf", pdf(CONTRACT))
    save("statement.txt", STATEMENT.encode())
    save("invoice.txt", INVOICE.encode())
    save("encrypted.pdf", encrypted_pdf(b"secret"))
    save("empty.pdf", b"")
    save("cut.pdf", pdf([INVOICE])[:300])
    save("no_pages.pdf", pdf([]))
    save("huge_page.pdf", pdf([INVOICE], box="0 0 900000 900000"))
    save("many_pages.pdf", pdf_objects([
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1000 /Kids [" + b" ".join(b"%d 0 R" % n for n in range(3, 1003)) + b"] >>",
        *[b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>"] * 1000]))
    save("slow.pdf", pdf_objects([
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
        stream(b"0 0 m 595 842 l 10 w S 5 5 500 700 re f\n" * 3_000_000)]))
    save("bomb.png", png(50000, 50000, b"\0" * 1000, depth=1))
    save("bomb.zip", zip_of(b"zeros", b"\0" * 20_000_000))
    save("polyglot.pdf", pdf([STATEMENT]) + zip_of(b"inside.html", b"<html><script>alert(1)</script></html>"))
    save("page.html", b"<!DOCTYPE html><html><body>%PDF-1.4 Invoice number 7</body></html>")
    save("noise.bin", random.Random(3).randbytes(4096))
    save("card.pdf", pdf([LICENSE], box="40 580 300 810"))
    make_images()


if __name__ == "__main__":
    make()
