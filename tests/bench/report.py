# What the bench shows: tables for a terminal, JSON, and a bar chart as SVG.
import json
import os
import platform
import statistics
from xml.sax.saxutils import escape

COLOURS = ("#1b6ca8", "#3fa7d6", "#59cd90", "#8bc34a", "#00897b", "#424242", "#c0392b", "#f39c12", "#9e9e9e",
           "#6a4c93", "#b388eb")


# What there is to do beyond the null server's answer, which is the protocol's limit on the machine.
BEYOND_NULL = {
    "create": "the same two requests; the inode, the entry and the bitmap",
    "write-small": "the same three requests; null drops the data, here it is allocated and copied to the image",
    "stat-warm": "no request: the host's caches answer",
    "stat-cold": "the same one request; the search in the directory, the inode",
    "readdir-stat": "the same requests; the directory, the inodes",
    "read-small": "the same two requests; the inode and a read of the image",
    "rename": "the same three requests; two entries that a crash must not lose",
    "unlink": "the same two requests; the entry, the blocks and the inode that become free",
    "seq-write": "null drops the data, here it is copied to the image once more",
    "seq-read-cold": "null copies zeros out of its memory, here pages go from the image to the host past ours",
    "seq-read-warm": "no request: the host's page cache answers, which has no large pages over FUSE",
    "rand-read": "the same one request; a read of the image",
    "rand-write": "null drops the data, here each page is a write of its own to the image",
    "rand-write-fsync": "as before, and what is written is flushed",
    "write-1": "null drops the data, here it is allocated and copied to the image",
    "write-8": "both CPUs are busy copying: one copy more than null's",
    "read-1": "null copies zeros out of its memory, here pages go from the image to the host past ours",
    "read-8": "both CPUs are busy copying: one copy, as null's",
    "create-1": "as create",
    "create-8": "as create; the clients are in each other's way on the CPUs, not in ours",
}


class Results:
    """Measurements by (workload, driver): one dict a round."""
    def __init__(self, workloads, drivers):
        self.workloads, self.drivers = workloads, drivers
        self.rounds = {}
        self.failures = {}

    def add(self, workload, driver, one):
        self.rounds.setdefault((workload, driver), []).append(one)

    def fail(self, workload, driver, reason):
        self.failures[workload, driver] = reason

    def unit(self, workload):
        for (name, _), rounds in self.rounds.items():
            if name == workload:
                return "MB/s" if rounds[0]["bytes"] else "ops/s"
        return ""

    def median(self, workload, driver, key="rate"):
        values = [r[key] for r in self.rounds.get((workload, driver), []) if r.get(key) is not None]
        return statistics.median(values) if values else None


def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{round(value, -int(max(0, len(str(int(value))) - 4))):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(results, title, cell, drivers):
    if not drivers:
        return
    rows = [[title, *drivers]]
    for name, description in results.workloads:
        cells = [cell(name, d) for d in drivers]
        if any(c != "-" for c in cells):
            unit = f" ({results.unit(name)})" if title == "workload" else ""
            rows.append([description + unit, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print()
    for n, row in enumerate(rows):
        print(row[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(row[1:], widths[1:])))
        if n == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))


def print_limits(results, null, transport, ours):
    """How far the first of `ours` that was measured is from the null server, and what lies between."""
    rows = []
    for workload, description in results.workloads:
        limit = results.median(workload, null)
        driver = next((n for n in ours if results.median(workload, n)), None)
        if limit and driver and workload in BEYOND_NULL:
            share = results.median(workload, driver) / limit
            rows.append((description, f"{share:.2f}", driver, BEYOND_NULL[workload]))
    if not rows:
        return
    print(f"\nshare of the limit over {transport} ({null}), and what lies between")
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for description, share, driver, why in rows:
        print(f"{description.ljust(widths[0])}  {share.rjust(widths[1])}  {driver.ljust(widths[2])}  {why}")


def print_tables(results):
    names = list(results.drivers)
    def rate(w, d):
        return "failed" if (w, d) in results.failures else number(results.median(w, d))
    table(results, "workload", rate, names)

    peers = [p for p in ("kernel", "fuse2fs", "ll", "null", "null-uring") if p in names]
    ours = [n for n in names if n not in ("kernel", "fuse2fs", "ll", "null", "null-uring")]
    for peer in peers:
        def ratio(w, d, peer=peer):
            a, b = results.median(w, d), results.median(w, peer)
            return f"{a / b:.2f}" if a is not None and b else "-"
        table(results, f"times {peer}", ratio, ours)

    mounted = [n for n in ours if not n.startswith("inproc")]
    print_limits(results, "null", "/dev/fuse", [n for n in mounted if not n.endswith("uring")])
    print_limits(results, "null-uring", "io_uring", [n for n in mounted if n.endswith("uring")])

    def has(key):
        return [n for n in names if any(results.median(w, n, key) is not None for w, _ in results.workloads)]
    table(results, "FUSE requests per operation",
          lambda w, d: number(results.median(w, d, "requests_per_operation")), has("requests_per_operation"))
    table(results, "daemon CPU, µs per operation",
          lambda w, d: number(results.median(w, d, "cpu_us_per_operation")), has("cpu_us_per_operation"))
    for (workload, driver), reason in results.failures.items():
        print(f"failed: {driver}, {workload}: {reason}")


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20}


def write_json(results, path, scale, date):
    rows = []
    for (workload, driver), rounds in results.rounds.items():
        rows.append({"workload": workload, "driver": driver, "unit": results.unit(workload),
                     "median": results.median(workload, driver),
                     "requests_per_operation": results.median(workload, driver, "requests_per_operation"),
                     "cpu_us_per_operation": results.median(workload, driver, "cpu_us_per_operation"),
                     "rounds": rounds})
    failures = [{"workload": w, "driver": d, "reason": r} for (w, d), r in results.failures.items()]
    with open(path, "w") as out:
        json.dump({"date": date, "machine": machine(), "scale": scale, "drivers": results.drivers,
                   "workloads": dict(results.workloads), "results": rows, "failures": failures}, out, indent=1)
        out.write("\n")


def write_svg(results, path):
    """One group of bars a workload, each as long as its share of the group's best."""
    bar, gap, left, width = 13, 14, 250, 560
    drivers = list(results.drivers)
    colour = dict(zip(drivers, COLOURS * (len(drivers) // len(COLOURS) + 1)))
    parts, y = [], 30
    x = 10
    for name in drivers:
        parts.append(f'<rect x="{x}" y="10" width="10" height="10" fill="{colour[name]}"/>'
                     f'<text x="{x + 14}" y="19">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    for workload, description in results.workloads:
        values = [(d, results.median(workload, d)) for d in drivers]
        values = [(d, v) for d, v in values if v is not None]
        if not values:
            continue
        best = max(v for _, v in values)
        y += gap
        middle = y + len(values) * bar / 2
        parts.append(f'<text x="{left - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(description)}</text>')
        for driver, value in values:
            length = max(1, width * value / best)
            parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 2}" fill="{colour[driver]}">'
                         f'<title>{escape(driver)}</title></rect>'
                         f'<text x="{left + length + 4:.0f}" y="{y + bar - 4}" class="value">'
                         f'{number(value)} {results.unit(workload)}</text>')
            y += bar
    with open(path, "w") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(left + width + 110, x)}" height="{y + 20}">\n'
                  '<style>text{font:11px sans-serif} .value{fill:#555;font-size:10px}</style>\n'
                  '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")
