"""Resources of a Terraform project, and changes made behind its back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Inject = Callable[[Callable[[str], Any]], object]  # takes `client(service)`


@dataclass(frozen=True)
class Case:
    """A resource, and ways to change it out of band: the drifted attribute → the change."""

    address: str
    block: str
    changes: Mapping[str, Inject]


def queue_url(client: Callable[[str], Any]) -> str:
    return str(client("sqs").get_queue_url(QueueName="orders")["QueueUrl"])


def topic_arn(client: Callable[[str], Any]) -> str:
    return str(client("sns").list_topics()["Topics"][0]["TopicArn"])


def group_id(client: Callable[[str], Any]) -> str:
    groups = client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["web"]}])
    return str(groups["SecurityGroups"][0]["GroupId"])


CASES = [
    Case(
        "aws_sqs_queue.orders",
        'resource "aws_sqs_queue" "orders" {\n  name = "orders"\n  visibility_timeout_seconds = 60\n'
        '  delay_seconds = 5\n  tags = { team = "shop" }\n}\n',
        {
            "visibility_timeout_seconds": lambda c: c("sqs").set_queue_attributes(
                QueueUrl=queue_url(c), Attributes={"VisibilityTimeout": "900"}
            ),
            "delay_seconds": lambda c: c("sqs").set_queue_attributes(
                QueueUrl=queue_url(c), Attributes={"DelaySeconds": "0"}
            ),
            "tags": lambda c: c("sqs").tag_queue(QueueUrl=queue_url(c), Tags={"team": "nobody"}),
        },
    ),
    Case(
        "aws_s3_bucket.invoices",
        'resource "aws_s3_bucket" "invoices" {\n  bucket = "invoices"\n  tags = { team = "shop" }\n}\n',
        {
            "tags": lambda c: c("s3").put_bucket_tagging(
                Bucket="invoices", Tagging={"TagSet": [{"Key": "team", "Value": "nobody"}]}
            )
        },
    ),
    Case(
        "aws_s3_bucket_versioning.invoices",
        'resource "aws_s3_bucket_versioning" "invoices" {\n  bucket = aws_s3_bucket.invoices.id\n'
        '  versioning_configuration {\n    status = "Enabled"\n  }\n}\n',
        {
            "versioning_configuration": lambda c: c("s3").put_bucket_versioning(
                Bucket="invoices", VersioningConfiguration={"Status": "Suspended"}
            )
        },
    ),
    Case(
        "aws_cloudwatch_log_group.app",
        'resource "aws_cloudwatch_log_group" "app" {\n  name = "app"\n  retention_in_days = 30\n'
        '  tags = { team = "shop" }\n}\n',
        {
            "retention_in_days": lambda c: c("logs").put_retention_policy(logGroupName="app", retentionInDays=1),
            "tags": lambda c: c("logs").tag_log_group(logGroupName="app", tags={"team": "nobody"}),
        },
    ),
    Case(
        "aws_ssm_parameter.limit",
        'resource "aws_ssm_parameter" "limit" {\n  name = "limit"\n  type = "String"\n'
        '  value = "10"\n  description = "most"\n}\n',
        {
            "value": lambda c: c("ssm").put_parameter(
                Name="limit", Value="9999", Type="String", Overwrite=True, Description="most"
            ),
        },
    ),
    Case(
        "aws_iam_role.app",
        'resource "aws_iam_role" "app" {\n  name = "app"\n  description = "the app"\n  max_session_duration = 3600\n'
        '  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Action = "sts:AssumeRole", '
        'Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" } }] })\n  tags = { team = "shop" }\n}\n',
        {
            "max_session_duration": lambda c: c("iam").update_role(
                RoleName="app", Description="the app", MaxSessionDuration=43200
            ),
            "description": lambda c: c("iam").update_role(
                RoleName="app", Description="changed", MaxSessionDuration=43200
            ),
            "assume_role_policy": lambda c: c("iam").update_assume_role_policy(
                RoleName="app",
                PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},'
                '"Action":"sts:AssumeRole"}]}',
            ),
            "tags": lambda c: c("iam").tag_role(RoleName="app", Tags=[{"Key": "team", "Value": "nobody"}]),
        },
    ),
    Case(
        "aws_iam_role_policy.app",
        'resource "aws_iam_role_policy" "app" {\n  name = "app"\n  role = aws_iam_role.app.id\n'
        '  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = ["s3:GetObject"], '
        'Resource = "*" }] })\n}\n',
        {
            "policy": lambda c: c("iam").put_role_policy(
                RoleName="app",
                PolicyName="app",
                PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["*"],"Resource":"*"}]}',
            )
        },
    ),
    Case(
        "aws_dynamodb_table.carts",
        'resource "aws_dynamodb_table" "carts" {\n  name = "carts"\n  billing_mode = "PAY_PER_REQUEST"\n'
        '  hash_key = "id"\n  attribute {\n    name = "id"\n    type = "S"\n  }\n  tags = { team = "shop" }\n}\n',
        {
            "tags": lambda c: c("dynamodb").tag_resource(
                ResourceArn=c("dynamodb").describe_table(TableName="carts")["Table"]["TableArn"],
                Tags=[{"Key": "team", "Value": "nobody"}],
            )
        },
    ),
    Case(
        "aws_sns_topic.news",
        'resource "aws_sns_topic" "news" {\n  name = "news"\n  display_name = "News"\n  tags = { team = "shop" }\n}\n',
        {
            "display_name": lambda c: c("sns").set_topic_attributes(
                TopicArn=topic_arn(c), AttributeName="DisplayName", AttributeValue="Spam"
            ),
            "tags": lambda c: c("sns").tag_resource(
                ResourceArn=topic_arn(c), Tags=[{"Key": "team", "Value": "nobody"}]
            ),
        },
    ),
    Case(
        "aws_security_group.web",
        'resource "aws_security_group" "web" {\n  name = "web"\n  description = "web"\n  ingress {\n'
        "    from_port = 443\n"
        '    to_port = 443\n    protocol = "tcp"\n    cidr_blocks = ["10.0.0.0/8"]\n  }\n'
        '  tags = { team = "shop" }\n}\n',
        {
            "ingress": lambda c: c("ec2").authorize_security_group_ingress(
                GroupId=group_id(c), IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
            ),
            "tags": lambda c: c("ec2").create_tags(Resources=[group_id(c)], Tags=[{"Key": "team", "Value": "nobody"}]),
        },
    ),
    Case(
        "aws_ecr_repository.app",
        'resource "aws_ecr_repository" "app" {\n  name = "app"\n  image_tag_mutability = "IMMUTABLE"\n}\n',
        {
            "image_tag_mutability": lambda c: c("ecr").put_image_tag_mutability(
                repositoryName="app", imageTagMutability="MUTABLE"
            )
        },
    ),
    Case(
        "aws_cloudwatch_event_rule.nightly",
        'resource "aws_cloudwatch_event_rule" "nightly" {\n'
        '  name = "nightly"\n  schedule_expression = "rate(1 day)"\n}\n',
        {
            "schedule_expression": lambda c: c("events").put_rule(Name="nightly", ScheduleExpression="rate(1 minute)"),
        },
    ),
    Case(
        "aws_cloudwatch_metric_alarm.errors",
        'resource "aws_cloudwatch_metric_alarm" "errors" {\n  alarm_name = "errors"\n  comparison_operator = '
        '"GreaterThanThreshold"\n  evaluation_periods = 1\n  metric_name = "errors"\n  namespace = "shop"\n'
        '  period = 60\n  statistic = "Sum"\n  threshold = 5\n}\n',
        {
            "threshold": lambda c: c("cloudwatch").put_metric_alarm(
                AlarmName="errors",
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                MetricName="errors",
                Namespace="shop",
                Period=60,
                Statistic="Sum",
                Threshold=5000,
                ActionsEnabled=True,
            )
        },
    ),
    Case(
        "aws_secretsmanager_secret.key",
        'resource "aws_secretsmanager_secret" "key" {\n  name = "key"\n'
        '  recovery_window_in_days = 0\n  tags = { team = "shop" }\n}\n',
        {"tags": lambda c: c("secretsmanager").tag_resource(SecretId="key", Tags=[{"Key": "team", "Value": "nobody"}])},
    ),
]
