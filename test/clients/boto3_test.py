# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
"""boto3 against podid: what Python sees of the textbook. Wants the environment that run.sh makes."""

import datetime
import json
import os
import subprocess
import sys
import unittest
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CLUSTER = os.environ["PODID_CLUSTER"]
REGION = os.environ["AWS_REGION"]
ABSENT = "a-zzzzzzzzzzzzzzzzz"

POD = """
import boto3, json
session = boto3.Session()
identity = session.client("sts").get_caller_identity()
credentials = session.get_credentials()
print(json.dumps({"Arn": identity["Arn"], "method": credentials.method}))
"""


def client(service):
    # One attempt: a refusal is an answer, and a retried one hides it.
    return boto3.client(service, region_name=REGION, config=Config(retries={"total_max_attempts": 1}))


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class PodIdentity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.eks, cls.eks_auth, cls.iam, cls.sts = (client(s) for s in ("eks", "eks-auth", "iam", "sts"))
        for c in (cls.eks, cls.eks_auth, cls.iam, cls.sts):
            cls.addClassCleanup(c.close)
        cls.account = cls.sts.get_caller_identity()["Account"]
        cls.cluster_arn = f"arn:aws:eks:{REGION}:{cls.account}:cluster/{CLUSTER}"

    def trust(self, account=None):
        condition = {"StringEquals": {"aws:SourceAccount": account or self.account}, "ArnEquals": {"aws:SourceArn": self.cluster_arn}}
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": condition,
        }
        return {"Version": "2012-10-17", "Statement": [statement]}

    def role(self, trust=None):
        name = unique("boto3")
        document = json.dumps(trust or self.trust())
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
        self.addCleanup(self.iam.delete_role, RoleName=name)
        return role

    def associate(self, role, **more):
        more.setdefault("namespace", unique("ns"))
        more.setdefault("serviceAccount", "app")
        made = self.eks.create_pod_identity_association(clusterName=CLUSTER, roleArn=role["Arn"], **more)["association"]
        self.addCleanup(self.eks.delete_pod_identity_association, clusterName=CLUSTER, associationId=made["associationId"])
        return made

    def refused(self, code, status, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        answer = caught.exception.response
        self.assertEqual(answer["Error"]["Code"], code, answer["Error"])
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], status)
        return answer["Error"]["Message"]

    def as_pod(self, association, *command):
        arguments = [os.environ["PODID"], "exec", "--cluster", CLUSTER, "--namespace", association["namespace"]]
        arguments += ["--service-account-name", association["serviceAccount"], "--", *command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)

    def test_create_and_describe(self):
        role = self.role()
        made = self.associate(role, tags={"team": "data"})
        self.assertRegex(made["associationId"], r"^a-[a-z0-9]{17}$")
        self.assertEqual(made["roleArn"], role["Arn"])
        self.assertEqual(made["tags"], {"team": "data"})
        self.assertIs(made["disableSessionTags"], False)
        self.assertNotIn("targetRoleArn", made)
        self.assertIsInstance(made["createdAt"], datetime.datetime)
        described = self.eks.describe_pod_identity_association(clusterName=CLUSTER, associationId=made["associationId"])
        self.assertEqual(described["association"], made)

    def test_duplicate(self):
        role = self.role()
        made = self.associate(role)
        message = self.refused(
            "ResourceInUseException", 409, self.eks.create_pod_identity_association,
            clusterName=CLUSTER, namespace=made["namespace"], serviceAccount="app", roleArn=role["Arn"],
        )
        self.assertEqual(message, f"Association already exists: {made['associationId']}")

    def test_not_found(self):
        self.refused(
            "ResourceNotFoundException", 404, self.eks.describe_pod_identity_association, clusterName=CLUSTER, associationId=ABSENT
        )
        self.refused("NoSuchEntity", 404, self.iam.get_role, RoleName=unique("none"))

    def test_pages(self):
        role, namespace = self.role(), unique("pages")
        made = {self.associate(role, namespace=namespace, serviceAccount=name)["associationId"] for name in "abcde"}
        pages = self.eks.get_paginator("list_pod_identity_associations").paginate(
            clusterName=CLUSTER, namespace=namespace, PaginationConfig={"PageSize": 2}
        )
        listed = [a["associationId"] for page in pages for a in page["associations"]]
        self.assertEqual(len(listed), 5)
        self.assertEqual(set(listed), made)

    def test_tags(self):
        arn = self.associate(self.role())["associationArn"]
        self.eks.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        self.eks.untag_resource(resourceArn=arn, tagKeys=["a"])
        self.assertEqual(self.eks.list_tags_for_resource(resourceArn=arn)["tags"], {"b": "2"})
        self.refused("NotFoundException", 404, self.eks.list_tags_for_resource, resourceArn=arn.rsplit("/", 1)[0] + "/" + ABSENT)

    def test_roles(self):
        role = self.role()
        got = self.iam.get_role(RoleName=role["RoleName"])["Role"]
        self.assertEqual(got["AssumeRolePolicyDocument"], self.trust())
        names = [r["RoleName"] for page in self.iam.get_paginator("list_roles").paginate() for r in page["Roles"]]
        self.assertIn(role["RoleName"], names)

    def test_assume_role_is_for_pods(self):
        message = self.refused("AccessDenied", 403, self.sts.assume_role, RoleArn=self.role()["Arn"], RoleSessionName="refused")
        self.assertIn("is not authorized to perform: sts:AssumeRole on resource:", message)

    def test_pod(self):
        role = self.role()
        made = self.associate(role)
        done = self.as_pod(made, sys.executable, "-c", POD)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout)
        self.assertEqual(got["method"], "container-role")
        self.assertRegex(got["Arn"], rf"^arn:aws:sts::{self.account}:assumed-role/{role['RoleName']}/eks-{CLUSTER[:10]}-")

    def test_pod_without_association(self):
        done = self.as_pod({"namespace": unique("ns"), "serviceAccount": "nobody"}, sys.executable, "-c", POD)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("CredentialRetrievalError", done.stderr)

    def test_exchange(self):
        role = self.role()
        made = self.associate(role)
        done = self.as_pod(made, "sh", "-c", 'cat "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"')
        self.assertEqual(done.returncode, 0, done.stderr)
        token = done.stdout.strip()
        answer = self.eks_auth.assume_role_for_pod_identity(clusterName=CLUSTER, token=token)
        self.assertEqual(answer["subject"], {"namespace": made["namespace"], "serviceAccount": "app"})
        self.assertEqual(answer["audience"], "pods.eks.amazonaws.com")
        self.assertEqual(answer["podIdentityAssociation"]["associationArn"], made["associationArn"])
        self.assertTrue(answer["assumedRoleUser"]["assumeRoleId"].startswith(role["RoleId"] + ":"))
        self.assertIsInstance(answer["credentials"]["expiration"], datetime.datetime)

        forged = token.rsplit(".", 1)[0] + ".AAAA"
        self.refused("InvalidTokenException", 400, self.eks_auth.assume_role_for_pod_identity, clusterName=CLUSTER, token=forged)
        self.refused("ResourceNotFoundException", 404, self.eks_auth.assume_role_for_pod_identity, clusterName="nope", token=token)

    def test_delete(self):
        made = self.eks.create_pod_identity_association(
            clusterName=CLUSTER, namespace=unique("ns"), serviceAccount="app", roleArn=self.role()["Arn"]
        )["association"]
        one = {"clusterName": CLUSTER, "associationId": made["associationId"]}
        self.assertEqual(self.eks.delete_pod_identity_association(**one)["association"]["associationId"], made["associationId"])
        self.refused("ResourceNotFoundException", 404, self.eks.delete_pod_identity_association, **one)


if __name__ == "__main__":
    unittest.main()
