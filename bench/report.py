"""What bench/run prints and writes: the ratios with their goals, then every cell."""
import json
import statistics
from dataclasses import dataclass

from contenders import BY_NAME

SMALL = ("4K", 10, 0)
COLUMNS = (("rate", "messages/s", "{:.1f}"), ("p50_ms", "p50 ms", "{:.2f}"), ("p99_ms", "p99 ms", "{:.2f}"),
           ("cpu", "CPU s/1000", "{:.3f}"), ("cpu_own", "of it own", "{:.3f}"), ("cpu_load", "load's", "{:.3f}"),
           ("rss_mb", "RSS MB", "{:.1f}"))


@dataclass
class Ratio:
    """`value` of one cell against another: at least the goal, or at most when `is_least` is False."""
    name: str
    upper: tuple
    lower: tuple
    field: str
    goal: float
    is_least: bool = True
    is_added: bool = False  # what upper has more than lower, in parts of lower


def cell(contender, load):
    return (contender, *load)


RATIOS = (
    Ratio("relay, new connection per message / STARTTLS+NTLM per message", cell("relay-new", SMALL),
          cell("direct-new", SMALL), "rate", 5.0),
    Ratio("relay, new connection per message / Postfix end to end", cell("relay-new", SMALL),
          cell("postfix", SMALL), "rate", 20.0),
    Ratio("relay, persistent / direct persistent session", cell("relay-kept", SMALL), cell("direct-kept", SMALL),
          "rate", 0.5),
    Ratio("relay, 25 MB, 4 clients / stunnel", cell("relay-kept", ("25M", 4, 0)), cell("stunnel", ("25M", 4, 0)),
          "rate", 0.8),
    Ratio("the same without a spool (on_failure = defer) / stunnel", cell("relay-defer", ("25M", 4, 0)),
          cell("stunnel", ("25M", 4, 0)), "rate", 0.8),
    Ratio("added p50, persistent, 10 clients / direct's p50", cell("relay-kept", SMALL), cell("direct-kept", SMALL),
          "p50_ms", 1.5, is_least=False, is_added=True),
    Ratio("added p50, persistent, 1 client / direct's p50", cell("relay-kept", ("4K", 1, 0)),
          cell("direct-kept", ("4K", 1, 0)), "p50_ms", 1.5, is_least=False, is_added=True),
    Ratio("CPU per message, relay / Postfix (own processes)", cell("relay-new", SMALL), cell("postfix", SMALL),
          "cpu_own", 0.1, is_least=False),
)


def needed_cells():
    return {key for ratio in RATIOS for key in (ratio.upper, ratio.lower)}


def median(runs, field):
    return statistics.median(run[field] for run in runs)


def one_ratio(ratio, cells):
    pairs = zip(cells[ratio.upper], cells[ratio.lower])
    values = [u[ratio.field] / d[ratio.field] - (1 if ratio.is_added else 0) for u, d in pairs if d[ratio.field] > 0]
    return {"name": ratio.name, "value": statistics.median(values), "each": values, "goal": ratio.goal,
            "is_least": ratio.is_least}


def ratios(cells):
    return [one_ratio(ratio, cells) for ratio in RATIOS if ratio.upper in cells and ratio.lower in cells]


def title(key):
    contender, size, clients, round_trip = key
    return f"{contender:<16}{size:>4}{clients:>5} clients {round_trip:>3} ms"


def show_cell(key, cells):
    """While it runs, one line per cell."""
    each = " ".join(f"{run['rate']:.1f}" for run in cells[key])
    print(f"{title(key)}  {median(cells[key], 'rate'):>10.1f} messages/s  ({each})", flush=True)


def show_ratio(ratio):
    is_reached = ratio["value"] >= ratio["goal"] if ratio["is_least"] else ratio["value"] <= ratio["goal"]
    print(f"{ratio['name']:<66}{ratio['value']:>8.2f}  {'>=' if ratio['is_least'] else '<='} {ratio['goal']:<5g}"
          f"{'' if is_reached else '  MISSED'}")


def show(facts, cells, all_ratios):
    print()
    for name, value in facts.items():
        print(f"{name:<14}{value}")
    if all_ratios:
        print()
    for ratio in all_ratios:
        show_ratio(ratio)
    print("\n" + " " * 36 + "".join(f"{head:>12}" for _, head, _ in COLUMNS))
    for key in sorted(cells, key=lambda k: (k[3], k[1] != "4K", k[2], list(BY_NAME).index(k[0]))):
        values = (form.format(median(cells[key], field)) for field, _, form in COLUMNS)
        print(f"{title(key):<36}" + "".join(f"{value:>12}" for value in values))


def write_json(path, facts, cells, all_ratios):
    rows = [{"contender": key[0], "label": BY_NAME[key[0]].label, "size": key[1], "clients": key[2],
             "round_trip_ms": key[3], "runs": runs,
             "median": {field: median(runs, field) for field in runs[0]}} for key, runs in cells.items()]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"conditions": facts, "ratios": all_ratios, "cells": rows}, file, indent=2)
        file.write("\n")
