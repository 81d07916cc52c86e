"""Texts of somebody who wants to write into a reader's terminal or page. In each, OWNED is what would show."""

import re

MARKUP = (
    "[red]OWNED[/red]",
    "[/]OWNED",
    "[bold blink]OWNED",
    "[link=file:///etc]OWNED[/link]",
    "[@click=quit]OWNED[/]",
)
TERMINAL = (
    "\x1b[31mOWNED\x1b[0m",
    "\x1b[2J\x1b[HOWNED",
    "\x1b[8mOWNED",  # hidden
    "\x1b[?1049hOWNED",  # another screen
    "\x1b[21tOWNED",  # the title comes back as if it had been typed
    "\x1b[5iOWNED",  # to the printer
    "\x1bcOWNED",  # reset
    "\x1b(0OWNED",  # another alphabet
    "\x1b]0;OWNED\x07",
    "\x1b]52;c;T1dORUQ=\x07OWNED",  # the clipboard
    "\x1b]8;;http://127.0.0.1:9/\x1b\\OWNED\x1b]8;;\x1b\\",
    "\x1b]1337;File=inline=1:T1dORUQ=\x07OWNED",
    "\x1bP+q544e\x1b\\OWNED",
    "\x1b_GOWNED\x1b\\",
    "\x1b^OWNED\x1b\\",
    "\x9b31mOWNED",
    "\x9d0;OWNED\x9c",
    "safe\rOWNED",
    "safe\x08\x08\x08\x08OWNED",
    "\x07\x00\x0e\x0f\x7fOWNED",
)
HIDING = (
    "\u202eDENWO",
    "\u2066OWNED\u2069",
    "\u202d\u202cOWNED\u200f",
    "OW\u200bNE\u200dD",
    "\ufeffOWNED\u2060",
    "OWNED" + "".join(chr(0xE0000 + ord(letter)) for letter in "hidden"),
    "OWNED\u2028Error: done\u2029",
)
PAGE = (
    "<script>document.title='OWNED'</script>",
    "</script><script>document.title='OWNED'</script>",
    "<!--<script>OWNED",
    "<img src=x onerror=\"document.title='OWNED'\">",
    "</textarea></title></style><svg onload=document.title='OWNED'>",
    '" onmouseover="document.title=\'OWNED\'" x="',
    "' autofocus onfocus='document.title=1' OWNED='",
    "<style>*{display:none}</style>OWNED",
    "</style><link rel=stylesheet href=http://127.0.0.1:9/OWNED>",
    '" style="position:fixed;inset:0;background:url(http://127.0.0.1:9/OWNED)',
    "<a href=\"javascript:document.title='OWNED'\">OWNED</a>",
    "<base href=http://127.0.0.1:9/><meta http-equiv=refresh content=0>OWNED",
    "{{ 7 * 7 }}{% raw %}${7*7}OWNED",
    "]]>&lt;b&gt;OWNED&#60;i&#62;",
)
TEXTS = (*MARKUP, *TERMINAL, *HIDING, *PAGE)

# No view may write one of these, whatever it was given: control characters but for the newline, turned and hidden text.
_RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def raw(output: str) -> set[str]:
    """Return the characters of an output that steer, turn or hide."""
    return set(_RAW.findall(output))
