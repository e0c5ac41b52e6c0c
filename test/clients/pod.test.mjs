// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// The whole path as a pod walks it: `podid exec` gives the environment of the webhook, the SDK asks the agent, the agent
// asks EKS Auth, and the credentials that come back are signed with.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import { CreatePodIdentityAssociationCommand, EKSClient, ListClustersCommand } from "@aws-sdk/client-eks";
import { UpdateAssumeRolePolicyCommand } from "@aws-sdk/client-iam";

import { account, agentEndpoint, asPod, cleanUp, cluster, createRole, eks, iam, podTrust, refused, region, unique } from "./support.mjs";

const program = fileURLToPath(new URL("pod.mjs", import.meta.url));

async function associate(t, options) {
  const role = await createRole(t, options);
  const { association } = await eks.send(
    new CreatePodIdentityAssociationCommand({ clusterName: cluster, namespace: unique("ns"), serviceAccount: "app", roleArn: role.Arn }),
  );
  return { role, pod: cleanUp(t, association) };
}

for (const provider of ["default", "http"]) {
  test(`a pod gets its role's credentials (${provider} provider)`, async (t) => {
    const { role, pod } = await associate(t);
    const { status, stdout, stderr } = await asPod(pod, process.execPath, program, provider);
    assert.equal(status, 0, stderr);
    const got = JSON.parse(stdout);
    const session = `^arn:aws:sts::${account}:assumed-role/${role.RoleName}/eks-${cluster.slice(0, 10)}-.{1,10}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`;
    assert.match(got.Arn, new RegExp(session));
    assert.equal(got.Account, account);
    assert.match(got.accessKeyId, /^ASIA/);
    assert.ok(got.tokenLength <= 4096);
    const hours = (Date.parse(got.expiration) - Date.now()) / 3_600_000;
    assert.ok(hours > 5.9 && hours <= 6.01, `credentials live ${hours} h, want 6`);
  });
}

test("a pod's session may do what its role may, and no more", async (t) => {
  const { pod } = await associate(t);
  const print = 'process.stdout.write(await (await fetch(process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI, {headers: {authorization: (await import("node:fs")).readFileSync(process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, "utf8")}})).text())';
  const { status, stdout, stderr } = await asPod(pod, process.execPath, "--input-type=module", "--eval", print);
  assert.equal(status, 0, stderr);
  const answer = JSON.parse(stdout);
  assert.deepEqual(Object.keys(answer), ["AccessKeyId", "SecretAccessKey", "Token", "AccountId", "Expiration"]);
  assert.match(answer.Expiration, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const credentials = { accessKeyId: answer.AccessKeyId, secretAccessKey: answer.SecretAccessKey, sessionToken: answer.Token };
  await refused(new EKSClient({ region, credentials, maxAttempts: 1 }).send(new ListClustersCommand({})), {
    name: "AccessDeniedException",
    status: 403,
  });
});

test("a service account without association gets nothing", async () => {
  const { status, stderr } = await asPod({ namespace: unique("ns"), serviceAccount: "nobody" }, process.execPath, program);
  assert.notEqual(status, 0);
  assert.match(stderr, /CredentialsProviderError|Could not load credentials/);
});

test("a role that ceased to trust the cluster gives nothing", async (t) => {
  const { role, pod } = await associate(t);
  const PolicyDocument = JSON.stringify(podTrust("999999999999"));
  await iam.send(new UpdateAssumeRolePolicyCommand({ RoleName: role.RoleName, PolicyDocument }));
  const { status } = await asPod(pod, process.execPath, program);
  assert.notEqual(status, 0);
});

test("the agent refuses a request without a token, in the form that SDKs read", async () => {
  const url = new URL("/v1/credentials", agentEndpoint);
  const answer = await fetch(url);
  assert.equal(answer.status, 400);
  assert.match(answer.headers.get("content-type"), /^application\/json/);
  const { code, message } = await answer.json();
  assert.equal(code, "InvalidParameterException");
  assert.match(message, /Service account token cannot be empty/);
});
