// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// What the client tests share: the environment of `podid dev`, the textbook's documents, and things that clean up after
// themselves. The tests talk to podid as anybody does, through the variables that DIR/env exports.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { promisify } from "node:util";

import { EKSClient, DeletePodIdentityAssociationCommand } from "@aws-sdk/client-eks";
import { AttachRolePolicyCommand, CreateRoleCommand, DeleteRoleCommand, DetachRolePolicyCommand, IAMClient } from "@aws-sdk/client-iam";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

function required(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run test/clients/run.sh, or source the env file of podid dev`);
  return value;
}

export const region = required("AWS_REGION");
export const cluster = required("PODID_CLUSTER");
export const agentEndpoint = required("PODID_AGENT_ENDPOINT");
export const podid = required("PODID");
required("AWS_ENDPOINT_URL");

// One attempt: a refusal is an answer, and a retried one hides it.
const config = { region, maxAttempts: 1 };
export const eks = new EKSClient(config);
export const iam = new IAMClient(config);
export const sts = new STSClient(config);

export const { Account: account, Arn: adminArn } = await sts.send(new GetCallerIdentityCommand({}));
export const clusterArn = `arn:aws:eks:${region}:${account}:cluster/${cluster}`;

/** A name that no other test and no earlier run has used. */
export const unique = (prefix) => `${prefix}-${randomUUID().slice(0, 8)}`;

/** The trust policy of the EKS user guide, bound to one account and one cluster. */
export const podTrust = (sourceAccount = account, sourceArn = clusterArn) => ({
  Version: "2012-10-17",
  Statement: [
    {
      Effect: "Allow",
      Principal: { Service: "pods.eks.amazonaws.com" },
      Action: ["sts:AssumeRole", "sts:TagSession"],
      Condition: { StringEquals: { "aws:SourceAccount": sourceAccount }, ArnEquals: { "aws:SourceArn": sourceArn } },
    },
  ],
});

/** A trust policy that names the account, so that its users need a permission of their own. */
export const accountTrust = () => ({
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Principal: { AWS: `arn:aws:iam::${account}:root` }, Action: "sts:AssumeRole" }],
});

/** Creates a role, with its managed policies, that is gone when the test ends. */
export async function createRole(t, { name = unique("clients"), trust = podTrust(), policyArns = [], tags } = {}) {
  const { Role } = await iam.send(
    new CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument: JSON.stringify(trust), Tags: tags }),
  );
  t.after(async () => {
    for (const PolicyArn of policyArns) await iam.send(new DetachRolePolicyCommand({ RoleName: name, PolicyArn }));
    await iam.send(new DeleteRoleCommand({ RoleName: name }));
  });
  for (const PolicyArn of policyArns) await iam.send(new AttachRolePolicyCommand({ RoleName: name, PolicyArn }));
  return Role;
}

/** Deletes the association when the test ends, unless the test did. */
export function cleanUp(t, association) {
  t.after(() =>
    eks
      .send(new DeletePodIdentityAssociationCommand({ clusterName: association.clusterName, associationId: association.associationId }))
      .catch((error) => assert.equal(error.name, "ResourceNotFoundException")),
  );
  return association;
}

/** Asserts that a call is refused with exactly this type, status and message, and that the request has an id. */
export async function refused(call, { type, name = type?.name, status, message }) {
  const error = await call.then(
    (answer) => assert.fail(`not refused: answered with ${Object.keys(answer).join(", ")}`),
    (reason) => reason,
  );
  assert.equal(error.name, name, `${error.name}: ${error.message}`);
  if (type) assert.ok(error instanceof type, `${name} is not an instance of ${type.name}`);
  assert.equal(error.$metadata.httpStatusCode, status);
  assert.ok(error.$metadata.requestId, "no request id");
  if (message instanceof RegExp) assert.match(error.message, message);
  else if (message !== undefined) assert.equal(error.message, message);
  return error;
}

/** Runs a command as a pod of the service account, through `podid exec`; resolves to {status, stdout, stderr}. */
export async function asPod({ namespace, serviceAccount, clusterName = cluster }, ...command) {
  const args = ["exec", "--cluster", clusterName, "--namespace", namespace, "--service-account-name", serviceAccount, "--", ...command];
  try {
    return { status: 0, ...(await promisify(execFile)(podid, args, { timeout: 45_000 })) };
  } catch (error) {
    if (typeof error.code !== "number") throw error;
    return { status: error.code, stdout: error.stdout, stderr: error.stderr };
  }
}
