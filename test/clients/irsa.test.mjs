// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// IRSA: a program with a role and a token file in its environment, and no key, is that role by the SDK's default chain.
// And the sessions that users get for themselves and for those they vouch for.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { EKSClient, ListClustersCommand } from "@aws-sdk/client-eks";
import { IAMClient, ListRolesCommand } from "@aws-sdk/client-iam";
import { GetAccessKeyInfoCommand, GetCallerIdentityCommand, GetFederationTokenCommand, GetSessionTokenCommand, STSClient } from "@aws-sdk/client-sts";

import { account, adminArn, cluster, createRole, podid, refused, region, sts, unique } from "./support.mjs";

const run = promisify(execFile);
const program = fileURLToPath(new URL("pod.mjs", import.meta.url));

const audience = "sts.amazonaws.com";

/** What IRSA's webhook puts into a pod, and nothing of the caller's own credentials. */
function environment(role, file) {
  const env = { ...process.env, AWS_ROLE_ARN: role.Arn, AWS_WEB_IDENTITY_TOKEN_FILE: file };
  for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"]) delete env[name];
  return env;
}

async function tokenFile(t, namespace, serviceAccount) {
  const args = ["create", "token", "--cluster", cluster, "--namespace", namespace, "--service-account-name", serviceAccount, "--audience", audience];
  const { stdout } = await run(podid, args);
  const dir = await mkdtemp(join(tmpdir(), "podid-irsa-"));
  t.after(() => rm(dir, { recursive: true }));
  const file = join(dir, "token");
  await writeFile(file, stdout.trim(), { mode: 0o600 });
  return file;
}

async function irsaTrust(namespace, serviceAccount) {
  const { stdout } = await run(podid, ["get", "cluster", cluster, "-o", "json"]);
  const { providerArn } = JSON.parse(stdout);
  const host = providerArn.split(":oidc-provider/")[1];
  return {
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Principal: { Federated: providerArn },
        Action: "sts:AssumeRoleWithWebIdentity",
        Condition: { StringEquals: { [`${host}:sub`]: `system:serviceaccount:${namespace}:${serviceAccount}`, [`${host}:aud`]: audience } },
      },
    ],
  };
}

test("IRSA: a role and a token file are credentials by the default chain", async (t) => {
  const namespace = unique("ns");
  const role = await createRole(t, { trust: await irsaTrust(namespace, "app") });
  const { stdout } = await run(process.execPath, [program], { env: environment(role, await tokenFile(t, namespace, "app")) });
  const got = JSON.parse(stdout);
  assert.match(got.Arn, new RegExp(`^arn:aws:sts::${account}:assumed-role/${role.RoleName}/`));
  assert.match(got.accessKeyId, /^ASIA/);
  const minutes = (Date.parse(got.expiration) - Date.now()) / 60_000;
  assert.ok(minutes > 55 && minutes <= 61, `credentials live ${minutes} min, want 60`);
});

test("IRSA: the token of another service account is refused", async (t) => {
  const namespace = unique("ns");
  const role = await createRole(t, { trust: await irsaTrust(namespace, "app") });
  const call = run(process.execPath, [program], { env: environment(role, await tokenFile(t, namespace, "stranger")) });
  await assert.rejects(call, /Not authorized to perform sts:AssumeRoleWithWebIdentity/);
});

const from = ({ AccessKeyId, SecretAccessKey, SessionToken }) => ({
  region,
  maxAttempts: 1,
  credentials: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken },
});

test("a user's own session is the user, but for IAM", async () => {
  const { Credentials, SessionTokenSize } = await sts.send(new GetSessionTokenCommand({ DurationSeconds: 900 }));
  assert.equal(SessionTokenSize, Credentials.SessionToken.length);
  const own = from(Credentials);
  assert.equal((await new STSClient(own).send(new GetCallerIdentityCommand({}))).Arn, adminArn);
  await new EKSClient(own).send(new ListClustersCommand({}));
  await refused(new IAMClient(own).send(new ListRolesCommand({})), { name: "InvalidClientTokenId", status: 403 });
  await refused(new STSClient(own).send(new GetSessionTokenCommand({})), {
    name: "AccessDenied", status: 403, message: "Cannot call GetSessionToken with session credentials",
  });
  const { Account } = await sts.send(new GetAccessKeyInfoCommand({ AccessKeyId: Credentials.AccessKeyId }));
  assert.equal(Account, account);
});

test("a federated user may do what session policy and user both allow", async () => {
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "eks:ListClusters", Resource: "*" }] });
  const { Credentials, FederatedUser, PackedPolicySize } = await sts.send(new GetFederationTokenCommand({ Name: "bob", Policy }));
  assert.deepEqual(FederatedUser, { Arn: `arn:aws:sts::${account}:federated-user/bob`, FederatedUserId: `${account}:bob` });
  assert.ok(PackedPolicySize > 0);
  const bob = from(Credentials);
  assert.equal((await new STSClient(bob).send(new GetCallerIdentityCommand({}))).UserId, `${account}:bob`);
  await new EKSClient(bob).send(new ListClustersCommand({}));
  const { Credentials: none } = await sts.send(new GetFederationTokenCommand({ Name: "bob" }));
  await refused(new EKSClient(from(none)).send(new ListClustersCommand({})), { name: "AccessDeniedException", status: 403 });
});
