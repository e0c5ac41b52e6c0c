# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite's driver of boto3: one request a line on standard input, one reply a line on standard output.

test/conformance/driver.go has their form. A new session for every call: its environment is a pod's.
"""

import json
import os
import sys

import boto3
import botocore
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, UnknownServiceError


# Only from 1.31 on does botocore read the variable by itself.
OLD = tuple(int(part) for part in botocore.__version__.split(".")[:2]) < (1, 31)
ENDPOINT = os.environ.get("AWS_ENDPOINT_URL") if OLD else None


class Lacking(Exception):
    """The client has no such service or operation."""


def call(asked):
    session = boto3.Session()
    if asked["service"] == "credentials":
        credentials = session.get_credentials()
        if credentials is None:
            raise RuntimeError("the chain found no credentials")
        for _ in range((asked.get("input") or {}).get("times", 1)):
            frozen = credentials.get_frozen_credentials()
        return {
            "accessKeyId": frozen.access_key,
            "accountId": getattr(frozen, "account_id", None),
            "expiration": getattr(credentials, "_expiry_time", None),
            "source": credentials.method,
        }
    attempts = asked.get("attempts")
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}) if attempts else None
    try:
        client = session.client(asked["service"], config=config, endpoint_url=ENDPOINT)
    except UnknownServiceError as unknown:
        raise Lacking(f"boto3 {boto3.__version__} has no client of {asked['service']}") from unknown
    try:
        return operate(client, asked)
    finally:
        client.close()


def operate(client, asked):
    name, members = xform_name(asked["operation"]), asked["input"]
    if not hasattr(client, name):
        raise Lacking(f"boto3 {boto3.__version__} has no {asked['operation']}")
    if not asked.get("paginate"):
        return getattr(client, name)(**members)
    sizes = {k: v for k, v in members.items() if k.lower() in ("maxresults", "maxitems")}
    rest = {k: v for k, v in members.items() if k not in sizes}
    pages = client.get_paginator(name).paginate(**rest, PaginationConfig={"PageSize": next(iter(sizes.values()))})
    return {"pages": list(pages)}


def refusal(error):
    if isinstance(error, Lacking):
        return {"code": "ClientLacksOperation", "message": str(error)}
    if isinstance(error, ClientError):
        answer, typed = error.response, type(error).__name__
        return {
            "code": answer["Error"]["Code"],
            "message": answer["Error"].get("Message", ""),
            "status": answer["ResponseMetadata"]["HTTPStatusCode"],
            "typed": "" if typed == "ClientError" else typed,
        }
    return {"code": type(error).__name__, "message": str(error)}


def main():
    for line in sys.stdin:
        try:
            answer = {"output": call(json.loads(line))}
        except Exception as error:  # whatever it is, the suite is to judge it
            answer = {"error": refusal(error)}
        print(json.dumps(answer, default=lambda value: value.isoformat()), flush=True)


if __name__ == "__main__":
    main()
