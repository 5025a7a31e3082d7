"""Facts of infrastructure code: what a policy looks at, and no secret."""

import pytest

from features.iac import FileChange, changes, documents, terraform, values
from infra.errors import DataError

BUCKET = """# a comment
resource "aws_s3_bucket" "a" {
  bucket = "invoices"   # kept
  acl    = "public-read"
  tags   = { team = "x" }
  versioning {
    enabled = true
  }
  cidrs = [
    "10.0.0.0/8",
    var.other,
  ]
  policy = <<-EOF
    { "not": "read" }
  EOF
  rule { days = 30 }
  environment = {
    password = "hunter2"
  }
}

module "m" {
  source = "./m"
}
"""
TEMPLATE = """
Resources:
  Queue:
    Type: AWS::SQS::Queue
    DeletionPolicy: Retain
    Properties:
      KmsMasterKeyId: !Ref Key
      Tags: [{Key: a, Value: !Sub "${x}-y"}]
"""
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
        - image: "nginx:1"
          env: [{name: A, value: plain}]
          securityContext: {}
---
apiVersion: v1
kind: Service
"""


def test_terraform_blocks_pairs_lists_and_heredocs() -> None:
    facts, types = terraform.read(BUCKET)
    at = "resource.aws_s3_bucket"
    assert types == {at: 1, "module": 1}
    assert set(facts) == {
        at,
        f"{at}.bucket=s:invoices",
        f"{at}.acl=s:public-read",
        f"{at}.tags=MAP",
        f"{at}.versioning",
        f"{at}.versioning.enabled=true",
        f"{at}.cidrs=LIST",
        f"{at}.cidrs[]=s:10.0.0.0/8",
        f"{at}.cidrs[]=REF",
        f"{at}.policy=HEREDOC",
        f"{at}.rule",
        f"{at}.rule.days=n30",
        f"{at}.environment=MAP",
        f"{at}.environment.password=STR",
        "module",
        "module.source=s:./m",
    }


def test_templates_and_manifests_are_flattened() -> None:
    facts, types = documents.cloudformation(TEMPLATE)
    assert types == {"AWS::SQS::Queue": 1}
    assert "AWS::SQS::Queue.Properties.KmsMasterKeyId.Ref=s:Key" in facts
    assert "AWS::SQS::Queue.Properties.Tags[].Value.Fn::Sub=REF" in facts
    assert "AWS::SQS::Queue.DeletionPolicy=s:Retain" in facts
    facts, types = documents.kubernetes(MANIFEST)
    assert types == {"Deployment": 1, "Service": 1}
    container = "Deployment.spec.template.spec.containers[]"
    assert {f"{container}.image=s:nginx:1", f"{container}.env[].value=STR", "Service.apiVersion=s:v1"} <= set(facts)
    assert f"{container}.securityContext=EMPTY" in facts


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('"x"', "s:x"),
        ('""', "EMPTY"),
        ('"a b"', "STR"),
        ('"123456789012"', "STR"),
        ('"${var.a}"', "REF"),
        ("-1.5", "n-1.5"),
        ("123456789", "NUM"),
        ('["a", "a", var.b]', "[s:a,REF]"),
        ('file("x")', "FN:file"),
        ("{}", "MAP"),
        ("null", "null"),
    ],
)
def test_value_classes(raw: str, expected: str) -> None:
    assert values.expression(raw) == expected
    assert values.of(None) == "null"
    assert values.of(True) == "true"
    assert values.of("x", "db.password") == "STR"


def test_a_change_becomes_a_row_of_its_difference() -> None:
    after = BUCKET.replace('acl    = "public-read"', 'acl    = "private"')
    [(_, row)] = changes.rows([FileChange("s3.tf", BUCKET, after), FileChange("README.md", None, "x")], "shop")
    assert row.facts_added == ["resource.aws_s3_bucket.acl=s:private"]
    assert row.facts_removed == ["resource.aws_s3_bucket.acl=s:public-read"]
    assert (row.lines_added, row.lines_removed, row.new_file, row.files_in_commit) == (1, 1, False, 2)
    assert row.types_before == row.types_after == ["module:1", "resource.aws_s3_bucket:1"]
    assert row.failed_before is None
    kinds = [changes.framework(*each) for each in (("a.yaml", TEMPLATE), ("a.yml", MANIFEST), ("a.yaml", "x: 1"))]
    assert kinds == ["cloudformation", "kubernetes", None]


HEAD = "apiVersion: v1\nkind: Pod\n"
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9))


@pytest.mark.parametrize("broken", ["  bad: [\n", "day: 2026-02-31\n", "a: &a [*a]\n", LAUGHS])
def test_a_file_that_cannot_be_read_is_named(broken: str) -> None:
    with pytest.raises(DataError, match=r"pod.yaml cannot be read as kubernetes"):
        changes.rows([FileChange("pod.yaml", None, HEAD + broken)], "shop")
