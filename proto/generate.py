"""Make `kvstore/pb/*_pb2.py` from the .proto files: `python -m proto.generate` (what `make proto` runs).

The modules register their messages in a pool of their own (kvstore.pb.POOL) instead of the process-wide one, in which a
second package with etcd's messages (any other etcd client) would be refused as a duplicate.
"""

from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
OWN_POOL = {
    "from google.protobuf import descriptor_pool as _descriptor_pool": "import kvstore.pb as _own",
    "_descriptor_pool.Default()": "_own.POOL",
    "_builder.BuildTopDescriptorsAndMessages(": "_own.build(",
}


def main() -> None:
    """Run protoc over every file of `proto/`; raise RuntimeError with its exit code when it refuses."""
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{SOURCE}", f"-I{well_known}", f"--python_out={ROOT}", f"--pyi_out={ROOT}", *sources]
    code = protoc.main(arguments)
    if code:
        raise RuntimeError(f"protoc exited with {code}")
    for source in (name for name in sources if name.startswith("kvstore/")):
        _use_own_pool(ROOT / source.replace(".proto", "_pb2.py"))


def _use_own_pool(module: Path) -> None:
    text = module.read_text()
    for process_wide, own in OWN_POOL.items():
        if text.count(process_wide) != 1:
            raise RuntimeError(f"{module} is not as protoc used to make it: where is {process_wide!r}?")
        text = text.replace(process_wide, own)
    module.write_text(text)


if __name__ == "__main__":
    main()
