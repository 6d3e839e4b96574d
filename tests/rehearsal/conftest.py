"""Prints what became of every notebook on every miniature."""

from rehearsal import NOTEBOOKS, OUTCOMES


def pytest_terminal_summary(terminalreporter):
    if not OUTCOMES:
        return
    names = list(dict.fromkeys(name for name, _ in OUTCOMES))
    write = terminalreporter.write_line
    terminalreporter.section("dress rehearsal: ran, says why not, TRACEBACK; processor seconds")
    write(f"{'':22}" + "".join(f"{number:>12}" for number in NOTEBOOKS))
    for name in names:
        write(f"{name:22}" + "".join(f"{_word(name, number):>12}" for number in NOTEBOOKS))
    write(f"{sum(outcome.seconds for outcome in OUTCOMES.values()):.0f} s of a processor in notebooks")


def _word(name: str, number: str) -> str:
    outcome = OUTCOMES.get((name, number))
    if outcome is None:
        return "-"
    word = "TRACEBACK" if outcome.traceback else "says why" if outcome.stopped else "ran"
    return f"{word} {outcome.seconds:.0f}"
