"""The one-way flow, checked on the source itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may import from its own layer's predecessors only.
LAYERS = [
    {
        "types",
        "names",
        "streams",
        "products",
        "precisions",
        "fusion",
        "heap",
        "threads",
        "run_files",
    },
    {"tasks", "replay", "cuda_graph", "checks"},
    {"nets", "adam", "episodes"},
    {"policies", "critics"},
    {"dynamics"},
    {"rollout", "displacement"},
    {"objectives"},
    {"world", "regression"},
    {"early_stopping", "ensemble_training"},
    {"critic_fitting", "model_fitting", "estimators"},
    {"config", "outcome", "scoring", "gradient_parts", "gradient_quality"},
    {"sizes", "agent"},
    {"presets"},
    {"evaluation"},
    {"diagnostics", "planning", "imagination"},
    {"trainer"},
    {"checkpoint"},
    {"run_checkpoints", "run_records"},
    {"run"},
    {"training", "run_evaluation"},
    {"run_measurement", "video"},
    {"run_gradient_error", "run_landscape"},
    {"cli"},
    {"__main__"},
]
DRAWING = {"figure", "style", "statistics", "curves", "gradient_error_figure"}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "maac_bench").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources("analytic"), ids=str)
def test_the_oracle_needs_numpy_and_scipy_only(path):
    standard = {"__future__", "collections", "contextlib", "dataclasses", "functools", "typing"}
    roots = {name.partition(".")[0] for name in imports(path)}
    assert roots <= standard | {"analytic", "numpy", "scipy"}


@pytest.mark.parametrize("path", sources("maac_bench"), ids=str)
def test_imports_flow_one_way(path):
    here = room(path)
    if here == "__init__":
        return
    rank = {name: level for level, names in enumerate(LAYERS) for name in names}
    assert here in rank, f"{here} has no place in the flow"
    for name in imports(path):
        if name.startswith("reports"):
            assert here == "cli", f"{path} imports {name}"
        if name.startswith("maac_bench."):
            other = name.split(".")[1]
            assert other == here or rank[other] < rank[here], f"{path} imports {name}"


@pytest.mark.parametrize("path", sources("reports"), ids=str)
def test_drawing_never_imports_what_computes(path):
    if path.stem in DRAWING:
        used = {name.partition(".")[0] for name in imports(path)}
        assert not used & {"maac_bench", "analytic", "torch"}, path


def test_nothing_hides_the_gradient_flow():
    """No stop-gradient inside dynamics, rollout and objectives: callers decide."""
    forbidden = ("no_grad", ".detach(", "inference_mode", "requires_grad")
    for path in [
        ROOT / "maac_bench" / "dynamics.py",
        ROOT / "maac_bench" / "rollout.py",
        *sources("maac_bench/objectives"),
    ]:
        text = path.read_text()
        assert not [word for word in forbidden if word in text], path


def test_no_global_generator_is_seeded():
    for package in ("analytic", "maac_bench", "reports"):
        for path in sources(package):
            text = path.read_text()
            assert "torch.manual_seed(" not in text, path
            assert "np.random.seed(" not in text, path


def test_drawing_loads_nothing_that_computes():
    """Also not through another module."""
    modules = [f"reports.{path.parent.name}.figure" for path in ROOT.glob("reports/*/figure.py")]
    assert len(modules) >= 7
    code = (
        f"import sys, reports.gradient_error_figure, {', '.join(sorted(modules))};"
        "print({'torch', 'maac_bench', 'analytic'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_constraints_are_exact_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in pinned)
    assert any(line.startswith("torch==") for line in pinned)
