"""Writes commits as `git fast-import` reads them."""

AUTHORS = [
    f"{name} <{name.split()[0].lower()}@example.org>"
    for name in ("Ada Byron", "Grace Brewster", "Edsger Wybe", "Barbara Huberman", "Niklaus Emil", "Žofia Łęcka")
]
ZONES = ("+0000", "+0100", "+0530", "-0330", "-0800", "+1200")
BEGIN = 1_262_304_000
STEP_SECONDS = 5400


class Stream:
    """A stream of commits on one branch; dates and authors follow from the random source alone."""

    def __init__(self, file, random):
        self.file = file
        self.random = random
        self.date = BEGIN

    def commit(self, commit):
        self.date += self.random.randrange(60, STEP_SECONDS)
        when = f"{self.date} {self.random.choice(ZONES)}"
        who = self.random.choice(AUTHORS)
        message = commit.about + "\n"
        if len(commit.pieces) > 3:
            message += "\n" + "".join(f"- {piece.kind} {piece.path}\n" for piece in commit.pieces[:20])
        self.write(f"commit refs/heads/main\nmark :{commit.number}\nauthor {who} {when}\ncommitter {who} {when}\n")
        self.data(message.encode())
        for word, parent in zip(("from", "merge"), commit.parents):
            self.write(f"{word} :{parent}\n")
        for path in sorted(commit.files, key=str.encode):
            entry = commit.files[path]
            if entry is None:
                self.write(f"D {path}\n")
        for path in sorted(commit.files, key=str.encode):
            entry = commit.files[path]
            if entry is not None:
                self.write(f"M {entry.mode} inline {path}\n")
                self.data(entry.data)
        self.write("\n")

    def data(self, data):
        self.write(f"data {len(data)}\n")
        self.file.write(data + b"\n")

    def write(self, text):
        self.file.write(text.encode())
