"""Draw docs/cluster.png from a running cluster: `python docs/make_picture.py` (needs kubectl, KUBECONFIG and chromium).

Everything in it is asked of the cluster: processes of `pilothouse status`, the store's leader, the elections, the nodes'
pods, and the guestbook's own page beside them.
"""

import html
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
)  # fmt: skip

STYLE = """
body{margin:0;font:15px DejaVu Sans,sans-serif;background:#0d1b2a;color:#e0e6ed;display:flex;width:1500px;height:800px}
main{width:930px;padding:26px 30px;box-sizing:border-box} iframe{border:0;width:570px;height:800px;background:#fff}
h1{font-size:22px;margin:0 0 4px} p{margin:0 0 18px;color:#8fa3b8} .row{display:flex;gap:16px;margin-bottom:16px}
.box{flex:1;border:1px solid #33475b;border-radius:10px;padding:12px 14px;background:#14263a;min-height:64px}
.lead{border-color:#f4b942;box-shadow:0 0 0 1px #f4b942} b{color:#fff} small{color:#8fa3b8;display:block;margin-top:3px}
.tag{display:inline-block;background:#f4b942;color:#14263a;border-radius:8px;padding:1px 8px;font-size:12px;margin:4px 4px 0 0}
.pod{display:block;background:#1f6f54;border-radius:8px;padding:5px 9px;font-size:12.5px;margin-top:7px}
.done{background:#3a4a5c}
"""


def ask(*command: str) -> Any:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def box(title: str, text: str, *, lead: bool = False, inside: str = "") -> str:
    kind = "box lead" if lead else "box"
    return f'<div class="{kind}"><b>{html.escape(title)}</b><small>{html.escape(text)}</small>{inside}</div>'


def tags(names: list[str]) -> str:
    return "".join(f'<span class="tag">{html.escape(name)}</span>' for name in names)


def pod_line(pod: dict[str, Any]) -> str:
    phase = pod["status"]["phase"]
    text = f"{pod['metadata']['name']} · {pod['status'].get('podIP', '')} · {phase}"
    return f'<span class="pod{"" if phase == "Running" else " done"}">{html.escape(text)}</span>'


def draw(status: dict[str, Any], kubectl: str, leader: str) -> str:
    processes = {item["name"]: item for item in status["processes"]}
    leases = ask(kubectl, "get", "leases", "-n", "kube-system", "-o", "json")["items"]
    pods = ask(kubectl, "get", "pods", "-A", "-o", "json")["items"]
    held = [(item["metadata"]["name"], item["spec"].get("holderIdentity") or "") for item in leases]

    def about(item: dict[str, Any]) -> str:
        return f"{item['address']} · pid {item['pid']} · {item['memoryBytes'] / 1e6:.0f} MB"

    def line(kind: str) -> list[dict[str, Any]]:
        return [item for item in processes.values() if item["kind"] == kind]

    rows = [[box("load balancer", about(processes["loadbalancer"]))]]
    masters = []
    for item in line("master"):
        names = [name for name, holder in held if holder.startswith(item["name"] + "_")]
        masters.append(box(item["name"], about(item), lead=bool(names), inside=tags(names)))
    rows.append(masters)
    members = [(item, f"http://{item['address']}" == leader) for item in line("kv")]
    rows.append(
        [
            box(item["name"], about(item), lead=leads, inside=tags(["raft leader"] if leads else []))
            for item, leads in members
        ]
    )
    nodes = []
    for item in line("node"):
        mine = [pod for pod in pods if pod["spec"].get("nodeName") == item["name"]]
        nodes.append(box(item["name"], about(item), inside="".join(map(pod_line, mine))))
    rows.append(nodes)
    return "".join(f'<div class="row">{"".join(row)}</div>' for row in rows)


def raft_leader(endpoints: list[str]) -> str:
    command = ["etcdctl", f"--endpoints={','.join(endpoints)}", "endpoint", "status", "-w", "json"]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
    )
    for item in json.loads(found.stdout):
        if item["Status"]["leader"] == item["Status"]["header"]["member_id"]:
            return str(item["Endpoint"])
    return ""


def main() -> None:
    kubectl = sys.argv[1] if len(sys.argv) > 1 else "kubectl"
    status = ask(str(Path(sys.executable).with_name("pilothouse")), "status", "--output", "json")
    front = ask(kubectl, "get", "service", "front", "-o", "json")["status"]["loadBalancer"]["ingress"][0]["ip"]
    total = sum(item["memoryBytes"] for item in status["processes"]) / 1e6
    title = (
        f"<h1>pilothouse up</h1><p>{len(status['processes'])} processes, {total:.0f} MB, API at {status['server']}</p>"
    )
    page = f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><main>{title}"
    page += (
        draw(status, kubectl, raft_leader(status["storeEndpoints"]))
        + f'</main><iframe scrolling=no src="http://{front}:8080/"></iframe>'
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.html"
        path.write_text(page)
        target = ["--window-size=1500,800", f"--screenshot={HERE / 'cluster.png'}", f"--user-data-dir={folder}/profile"]
        subprocess.run([*CHROMIUM, *target, f"file://{path}"], check=True, capture_output=True)
    print(HERE / "cluster.png")


if __name__ == "__main__":
    main()
