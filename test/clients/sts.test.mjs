// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// STS, as @aws-sdk/client-sts sees it: who one is, whom one may become, and what a wrong signature is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { fromTemporaryCredentials } from "@aws-sdk/credential-providers";

import { account, accountTrust, adminArn, createRole, refused, region, sts, unique } from "./support.mjs";

const identity = (credentials) => new STSClient({ region, credentials, maxAttempts: 1 }).send(new GetCallerIdentityCommand({}));

test("the key of podid dev is the first user's", async () => {
  const { UserId } = await sts.send(new GetCallerIdentityCommand({}));
  assert.match(account, /^\d{12}$/);
  assert.equal(adminArn, `arn:aws:iam::${account}:user/podid-admin`);
  assert.match(UserId, /^AIDA[A-Z0-9]{17}$/);
});

test("a role that trusts the account is assumed, and its session works", async (t) => {
  const role = await createRole(t, { trust: accountTrust() });
  const RoleSessionName = unique("session");
  const { Credentials, AssumedRoleUser } = await sts.send(new AssumeRoleCommand({ RoleArn: role.Arn, RoleSessionName }));

  assert.match(Credentials.AccessKeyId, /^ASIA[A-Z2-7]{16}$/);
  assert.equal(Credentials.SecretAccessKey.length, 40);
  assert.ok(Credentials.SessionToken.length <= 4096);
  assert.ok(Credentials.Expiration instanceof Date);
  assert.ok(Math.abs(Credentials.Expiration.getTime() - Date.now() - 3_600_000) < 60_000, "an hour is the default");
  assert.equal(AssumedRoleUser.Arn, `arn:aws:sts::${account}:assumed-role/${role.RoleName}/${RoleSessionName}`);
  assert.equal(AssumedRoleUser.AssumedRoleId, `${role.RoleId}:${RoleSessionName}`);

  const session = await identity({
    accessKeyId: Credentials.AccessKeyId,
    secretAccessKey: Credentials.SecretAccessKey,
    sessionToken: Credentials.SessionToken,
  });
  assert.equal(session.Arn, AssumedRoleUser.Arn);
  assert.equal(session.UserId, AssumedRoleUser.AssumedRoleId);
});

test("the provider for temporary credentials assumes a role by itself", async (t) => {
  const role = await createRole(t, { trust: accountTrust() });
  const credentials = fromTemporaryCredentials({ params: { RoleArn: role.Arn, RoleSessionName: "provider" }, clientConfig: { region } });
  assert.equal((await identity(credentials)).Arn, `arn:aws:sts::${account}:assumed-role/${role.RoleName}/provider`);
});

test("refusals of AssumeRole", async (t) => {
  const pods = await createRole(t);
  const open = await createRole(t, { trust: accountTrust() });
  const assume = (RoleArn, more) => sts.send(new AssumeRoleCommand({ RoleArn, RoleSessionName: "refused", ...more }));
  const notAuthorized = (arn) => `User: ${adminArn} is not authorized to perform: sts:AssumeRole on resource: ${arn}`;

  await t.test("a role that trusts pods only", () =>
    refused(assume(pods.Arn), { name: "AccessDenied", status: 403, message: notAuthorized(pods.Arn) }));
  await t.test("a role that does not exist looks the same", () =>
    refused(assume(`${pods.Arn}-none`), { name: "AccessDenied", status: 403, message: notAuthorized(`${pods.Arn}-none`) }));
  await t.test("longer than the role allows", () =>
    refused(assume(open.Arn, { DurationSeconds: 43_200 }), { name: "ValidationError", status: 400 }));
  await t.test("a session name with a space", () =>
    refused(assume(open.Arn, { RoleSessionName: "a b" }), { name: "ValidationError", status: 400 }));
  await t.test("tags that the trust policy does not allow", () =>
    refused(assume(open.Arn, { Tags: [{ Key: "k", Value: "v" }] }), { name: "AccessDenied", status: 403, message: /sts:TagSession/ }));
});

test("refusals of signatures", async (t) => {
  const accessKeyId = process.env.AWS_ACCESS_KEY_ID;
  const secretAccessKey = process.env.AWS_SECRET_ACCESS_KEY;
  await t.test("a wrong secret", () =>
    refused(identity({ accessKeyId, secretAccessKey: "w".repeat(40) }), { name: "SignatureDoesNotMatch", status: 403 }));
  await t.test("an unknown key", () =>
    refused(identity({ accessKeyId: "AKIAAAAAAAAAAAAAAAAA", secretAccessKey }), { name: "InvalidClientTokenId", status: 403 }));
  await t.test("a session token of nobody", () =>
    refused(identity({ accessKeyId: "ASIAAAAAAAAAAAAAAAAA", secretAccessKey, sessionToken: "AAAA" }), {
      name: "InvalidClientTokenId",
      status: 403,
    }));
});
