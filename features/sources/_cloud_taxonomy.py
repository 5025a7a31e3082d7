"""Service → category, as the annotators of `gcp_label.csv` and `aws_label.csv` gave it.

They read 365 reports, and gave every report of one service the same category; so what they say of a service holds for
its other reports too. Services that they saw none of have no category. `None`: a page for several services at once.
"""

from __future__ import annotations

_SERVICES: dict[str | None, str] = {
    "ai": "Cloud Machine Learning; Amazon Lex; Amazon Personalize",
    "analytics": "Google Cloud Composer; Google Cloud Dataflow; Google Cloud Dataproc; Google Cloud Pub/Sub; "
    "Amazon Athena; Amazon Kinesis Analytics; Amazon Kinesis Data Streams; Amazon Kinesis Firehose",
    "compute": "Cloud Run; Google App Engine; Google Cloud Functions; Google Cloud Infrastructure Components; "
    "Google Cloud infrastructure components; Google Compute Engine; Google Container Engine; "
    "Google Kubernetes Engine; AWS Lambda; Amazon Elastic Compute Cloud; Amazon Elastic Container Registry; "
    "Amazon Elastic Container Service; Amazon Elastic MapReduce; Auto Scaling",
    "database": "Google BigQuery; Google Cloud Bigtable; Google Cloud SQL; Amazon ElastiCache; "
    "Amazon Relational Database Service",
    "management": "Google Cloud Console; AWS Systems Manager; Amazon CloudWatch; Amazon Managed Grafana",
    "network": "Google Cloud DNS; Google Cloud Networking; AWS Direct Connect; AWS Internet Connectivity; "
    "AWS NAT Gateway; Amazon API Gateway; Amazon CloudFront; Amazon Elastic Load Balancing; Amazon Route 53; "
    "Amazon Route 53 Domain Registration; Amazon Route 53 Resolver; Amazon Virtual Private Cloud",
    "others": "Cloud Developer Tools; Google Cloud Support; Google Stackdriver; Operations; AWS Billing Console; "
    "AWS CodeBuild; AWS CodeCommit; AWS CodeDeploy; AWS IoT Core; AWS Management Console; AWS Mobile Hub; "
    "Amazon Chime; Amazon MQ; Amazon Simple Queue Service; Amazon WorkMail; Amazon WorkSpaces",
    "security": "Identity & Security; Identity and Access Management; Secret Manager; AWS Certificate Manager; "
    "AWS Identity and Access Management; AWS Secrets Manager; AWS Single Sign-On",
    "storage": "Cloud Filestore; Cloud Firestore; Cloud Memorystore; Cloud Spanner; Google Cloud Datastore; "
    "Google Cloud Storage; AWS Storage Gateway; Amazon Simple Storage Service",
    None: "Multiple Products; Multiple services",  # the annotators: others
}
CATEGORIES: dict[str, str | None] = {
    service: category for category, services in _SERVICES.items() for service in services.split("; ")
}
