"""Our top-level packages have everyday names: no dependency may claim one of them."""

from importlib import metadata

OURS = {"flows", "features", "training", "serving", "remediation", "infra"}


def test_no_dependency_claims_one_of_our_names():
    claims = metadata.packages_distributions()
    foreign = {name: sorted(set(claims.get(name, [])) - {"iac-dharma-aiops"}) for name in OURS}
    assert {name: owners for name, owners in foreign.items() if owners} == {}


def test_the_look_sees_what_it_looks_for():
    assert "pytest" in metadata.packages_distributions()["pytest"]
