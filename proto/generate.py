"""Make `kvstore/pb/*_pb2.py` from the .proto files: `python -m proto.generate` (what `make proto` runs)."""

from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"


def main() -> None:
    """Run protoc over every file of `proto/`; raise RuntimeError with its exit code when it refuses."""
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{SOURCE}", f"-I{well_known}", f"--python_out={ROOT}", f"--pyi_out={ROOT}", *sources]
    code = protoc.main(arguments)
    if code:
        raise RuntimeError(f"protoc exited with {code}")


if __name__ == "__main__":
    main()
