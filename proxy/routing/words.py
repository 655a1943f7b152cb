"""What words, marks and scripts say of a request: the table behind ``features``.

A word speaks for one kind of task, with a weight: 1 is enough to be believed where nothing speaks against it.  It is data:
to teach it a word, add the word, and the request that was not understood to the tests.
"""

from __future__ import annotations

import re
from typing import Final


def _table(rows: dict[tuple[str, float], str]) -> dict[str, tuple[str, float]]:
    return {word: key for key, words in rows.items() for word in words.split()}


WORDS: Final = _table(
    {
        ("coding", 2.0): """
            python javascript typescript java rust golang kotlin swift php sql bash dockerfile kubernetes regex html css react
            django flask numpy pandas pytest traceback stacktrace typeerror valueerror segfault codebase refactor refactoring
            unittest unittests pythonfunktion programmieren programmiere programmation refactorise refactoriza""",
        ("coding", 1.0): """
            code function functions class method compile compiler bug debug script algorithm api endpoint git commit repository
            variable array loop recursion async query database schema exception funktion codigo código fonction programa
            programme quellcode klasse methode función""",
        ("math", 2.0): """
            integral derivative equation equations polynomial theorem lemma eigenvalue eigenvalues probability modulo congruent
            trigonometry algebra geometry calculus arithmetic hypotenuse perpendicular divisible remainder gleichung gleichungen
            équation ecuación ecuacion equação equazione ableitung wahrscheinlichkeit intégrale""",
        ("math", 1.0): """
            solve prove proof compute calculate sum product triangle circle radius integer integers prime fraction percent
            berechne beweise löse calculer calcule calcula résoudre resuelve calculez wieviel""",
        ("reasoning", 1.0): """
            puzzle riddle logic logical deduce infer paradox hypothesis implies syllogism liar knights knaves constraint
            constraints rätsel énigme acertijo deduzca schlussfolgere""",
        ("agentic", 1.0): "browse browser navigate terminal shell workspace agent subagent tool tools",
        ("translation", 3.0): """
            translate translation übersetze übersetzen übersetzung traduis traduire traduisez traduction traduce traducir
            traducción traduza traduzir tradução traduci tradurre traduzione переведи перевод переведите""",
        ("summarisation", 3.0): """
            summarize summarise summary summaries tldr zusammenfassen zusammenfassung fasse résume résumer résumé resume resumen
            resumir resuma riassumi riassunto резюмируй""",
        ("summarisation", 1.0): "abstract digest condense gist takeaways recap zusammen",
        ("extraction", 2.0): """
            extract extraction entities classify classification categorize categorise parse label extrahiere extrahieren
            extraire extrais extraer extrae klassifiziere classifie clasifica estrai extraia извлеки""",
        ("extraction", 1.0): "json csv fields sentiment invoice named entity",
        ("writing", 2.0): """
            essay poem story haiku lyrics blog novel limerick screenplay gedicht geschichte aufsatz poème histoire poema cuento
            ensayo poesia racconto стихотворение""",
        (
            "writing",
            1.0,
        ): "write draft compose rewrite rephrase email letter tweet slogan headline schreibe écris escribe scrivi",
        ("knowledge", 1.0): """
            who when where capital invented discovered founded president century history born population wer wann wo hauptstadt
            qui quand où capitale quién cuándo dónde""",
        (
            "instruction",
            1.0,
        ): "exactly bullet bullets sentences paragraphs uppercase lowercase format genau exactement exactamente",
    }
)
"""By word: the kind that it speaks for, and how much."""

MARKS: Final = (
    (
        "coding",
        (
            ("```", 1.5), ("def ", 1.0), ("class ", 0.5), ("import ", 0.7), ("#include", 2.0), ("function(", 1.5),
            ("=> {", 1.5), ("();", 1.5), ("select * ", 2.0), ("</div", 1.5), ("traceback (most", 2.0), ("exception in", 1.0),
            ("c++", 2.0), ("c#", 2.0), ("node.js", 2.0), ("unit test", 2.0), ("pull request", 1.5),
        ),
    ),
    (
        "math",
        (
            ("\\frac", 2.5), ("\\int", 2.5), ("\\sum", 2.5), ("\\sqrt", 2.5), ("$$", 1.5), ("x^2", 2.0), ("solve for", 1.5),
            ("prove that", 2.5), ("find the value", 2.0), ("how many ways", 2.5), ("boxed{", 2.5), ("∫", 2.5), ("√", 2.0),
        ),
    ),
    (
        "reasoning",
        (("step by step", 1.0), ("logic puzzle", 2.0), ("which of the following must", 2.0), ("what follows from", 1.5)),
    ),
    ("summarisation", (("tl;dr", 3.0), ("key points", 2.0), ("in a nutshell", 1.0), ("main points", 2.0))),
    ("extraction", (("as json", 1.5), ("key-value", 1.5), ("the following fields", 2.0), ("from the text", 1.0))),
    ("knowledge", (("what is the capital", 2.0), ("who wrote", 1.5), ("in which year", 2.0), ("what year", 1.5))),
    ("instruction", (("in exactly", 1.5), ("at least ", 0.5), ("do not use", 1.0), ("no more than", 1.0))),
    (
        "translation",
        (
            ("into german", 2.0), ("into french", 2.0), ("into english", 2.0), ("into spanish", 2.0),
            ("ins englische", 3.0), ("ins deutsche", 3.0), ("en français", 1.0), ("en español", 1.0),
        ),
    ),
)  # fmt: skip
"""By kind: pieces of text that speak for it, wherever they stand."""

PUNCTUATION: Final = str.maketrans(dict.fromkeys("\t\n\r.,;:!?()[]{}<>\"'`*#/\\|=+-_~^@…“”„«»¿¡", " "))
"""What parts words, as ``str.translate`` takes it."""

Marked = tuple[tuple[str, str, float], ...]


def _gates() -> tuple[dict[str, Marked], dict[str, Marked]]:
    """The marks by the first word in each, and those that begin with no word by their rarest sign: so only what may be there
    is looked for."""
    by_word: dict[str, Marked] = {}
    by_char: dict[str, Marked] = {}
    for kind, marks in MARKS:
        for mark, weight in marks:
            words = mark.translate(PUNCTUATION).split()
            plain = mark.isascii() and mark[0] not in "\\`<=($"
            table, key = (by_word, words[0]) if plain and words else (by_char, mark[0])
            table[key] = (*table.get(key, ()), (mark, kind, weight))
    return by_word, by_char


MARKED_BY_WORD, MARKED_BY_CHAR = _gates()

PHRASES: Final = (
    ("翻译", "translation", 3.0),
    ("翻譯", "translation", 3.0),
    ("翻訳", "translation", 3.0),
    ("번역", "translation", 3.0),
    ("总结", "summarisation", 3.0),
    ("摘要", "summarisation", 3.0),
    ("要約", "summarisation", 3.0),
    ("요약", "summarisation", 3.0),
    ("代码", "coding", 2.0),
    ("函数", "coding", 2.0),
    ("程序", "coding", 1.5),
    ("コード", "coding", 2.0),
    ("関数", "coding", 2.0),
    ("코드", "coding", 2.0),
    ("код", "coding", 1.5),
    ("функци", "coding", 1.5),
    ("方程", "math", 2.5),
    ("证明", "math", 2.5),
    ("计算", "math", 1.5),
    ("計算", "math", 1.5),
    ("証明", "math", 2.5),
    ("уравнени", "math", 2.5),
    ("докажи", "math", 2.5),
    ("提取", "extraction", 2.0),
    ("抽出", "extraction", 2.0),
    ("写一首", "writing", 2.0),
    ("小说", "writing", 2.0),
)
"""Words of languages that do not part them by spaces, or bend them."""

SCRIPTS: Final = tuple(
    (code, re.compile(f"[{first}-{last}]"))
    for code, first, last in (
        ("ja", "\u3040", "\u30ff"),
        ("ko", "\uac00", "\ud7af"),
        ("zh", "\u4e00", "\u9fff"),
        ("ru", "\u0400", "\u04ff"),
        ("ar", "\u0600", "\u06ff"),
        ("he", "\u0590", "\u05ff"),
        ("hi", "\u0900", "\u097f"),
        ("th", "\u0e00", "\u0e7f"),
        ("el", "\u0370", "\u03ff"),
    )
)
"""A language for each script that tells one, the more telling first: Japanese has Chinese characters too."""

LANGUAGES: Final = {
    code: frozenset(words.split(" "))
    for code, words in {
        "en": "the and is of to in that for with you this what how are please a",
        "de": "der die das und ist nicht ein eine ich mit für auf von wie bitte den",
        "fr": "le la les et est une des pour que dans avec vous ce comment du un",
        "es": "el la los las y es una que de en por con para cómo como del un",
        "pt": "o os as e é uma que de em por com para não como do um",
        "it": "il la gli e è una che di in per con non come del della un lo",
        "nl": "de het een en is van niet ik met voor op wat hoe dat je zijn",
    }.items()
}
"""The commonest words of languages in Latin letters."""
