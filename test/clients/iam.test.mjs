// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// IAM, as @aws-sdk/client-iam sees it: roles, their trust and their policies.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AttachRolePolicyCommand,
  CreateRoleCommand,
  DeleteConflictException,
  DeleteRoleCommand,
  DeleteRolePolicyCommand,
  EntityAlreadyExistsException,
  GetPolicyCommand,
  GetPolicyVersionCommand,
  GetRoleCommand,
  GetRolePolicyCommand,
  ListAttachedRolePoliciesCommand,
  ListRolePoliciesCommand,
  MalformedPolicyDocumentException,
  NoSuchEntityException,
  PutRolePolicyCommand,
  UpdateAssumeRolePolicyCommand,
  paginateListRoles,
} from "@aws-sdk/client-iam";

import { account, createRole, iam, podTrust, refused, unique } from "./support.mjs";

const s3ReadOnly = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";

test("a role comes back as it was created, its trust policy URL-encoded", async (t) => {
  const role = await createRole(t, { tags: [{ Key: "team", Value: "data" }] });
  const { Role } = await iam.send(new GetRoleCommand({ RoleName: role.RoleName }));
  assert.equal(Role.Arn, `arn:aws:iam::${account}:role/${role.RoleName}`);
  assert.match(Role.RoleId, /^AROA[A-Z0-9]{17}$/);
  assert.equal(Role.Path, "/");
  assert.equal(Role.MaxSessionDuration, 3600);
  assert.ok(Role.CreateDate instanceof Date);
  assert.deepEqual(Role.Tags, [{ Key: "team", Value: "data" }]);
  assert.deepEqual(JSON.parse(decodeURIComponent(Role.AssumeRolePolicyDocument)), podTrust());
});

test("a name is taken once", async (t) => {
  const role = await createRole(t);
  const again = new CreateRoleCommand({ RoleName: role.RoleName, AssumeRolePolicyDocument: JSON.stringify(podTrust()) });
  await refused(iam.send(again), { type: EntityAlreadyExistsException, status: 409 });
});

test("an unknown role is no entity", async () => {
  const name = unique("none");
  for (const command of [GetRoleCommand, DeleteRoleCommand, ListAttachedRolePoliciesCommand]) {
    await refused(iam.send(new command({ RoleName: name })), { type: NoSuchEntityException, status: 404 });
  }
});

test("a document that is no policy is refused", async () => {
  const create = (document) => iam.send(new CreateRoleCommand({ RoleName: unique("bad"), AssumeRolePolicyDocument: document }));
  await refused(create("{"), { type: MalformedPolicyDocumentException, status: 400 });
  const resource = podTrust();
  resource.Statement[0].Resource = "*";
  await refused(create(JSON.stringify(resource)), {
    type: MalformedPolicyDocumentException,
    status: 400,
    message: "Has prohibited field Resource.",
  });
});

test("roles are listed, page by page, each once", async (t) => {
  const made = [];
  for (let i = 0; i < 3; i++) made.push((await createRole(t)).RoleName);
  const names = [];
  for await (const page of paginateListRoles({ client: iam, pageSize: 2 }, {})) names.push(...page.Roles.map((r) => r.RoleName));
  assert.equal(new Set(names).size, names.length);
  for (const name of made) assert.ok(names.includes(name), `${name} is not listed`);
});

test("a trust policy is replaced", async (t) => {
  const role = await createRole(t);
  const trust = podTrust("999999999999");
  await iam.send(new UpdateAssumeRolePolicyCommand({ RoleName: role.RoleName, PolicyDocument: JSON.stringify(trust) }));
  const { Role } = await iam.send(new GetRoleCommand({ RoleName: role.RoleName }));
  assert.deepEqual(JSON.parse(decodeURIComponent(Role.AssumeRolePolicyDocument)), trust);
});

test("managed policies are attached, and hold the role", async (t) => {
  const role = await createRole(t, { policyArns: [s3ReadOnly] });
  const { AttachedPolicies } = await iam.send(new ListAttachedRolePoliciesCommand({ RoleName: role.RoleName }));
  assert.deepEqual(AttachedPolicies, [{ PolicyName: "AmazonS3ReadOnlyAccess", PolicyArn: s3ReadOnly }]);
  await refused(iam.send(new DeleteRoleCommand({ RoleName: role.RoleName })), { type: DeleteConflictException, status: 409 });
  const none = new AttachRolePolicyCommand({ RoleName: role.RoleName, PolicyArn: `${s3ReadOnly}None` });
  await refused(iam.send(none), { type: NoSuchEntityException, status: 404 });
});

test("AWS' managed policies can be read", async () => {
  const { Policy } = await iam.send(new GetPolicyCommand({ PolicyArn: s3ReadOnly }));
  assert.equal(Policy.PolicyName, "AmazonS3ReadOnlyAccess");
  const { PolicyVersion } = await iam.send(new GetPolicyVersionCommand({ PolicyArn: s3ReadOnly, VersionId: Policy.DefaultVersionId }));
  assert.equal(PolicyVersion.IsDefaultVersion, true);
  const actions = JSON.parse(decodeURIComponent(PolicyVersion.Document)).Statement.flatMap((s) => s.Action);
  assert.ok(actions.includes("s3:Get*"));
});

test("inline policies are put, read and deleted", async (t) => {
  const { RoleName } = await createRole(t);
  const document = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*" }] };
  const PolicyName = "read";
  const list = async () => (await iam.send(new ListRolePoliciesCommand({ RoleName }))).PolicyNames;

  await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName, PolicyDocument: JSON.stringify(document) }));
  assert.deepEqual(await list(), [PolicyName]);
  const { PolicyDocument } = await iam.send(new GetRolePolicyCommand({ RoleName, PolicyName }));
  assert.deepEqual(JSON.parse(decodeURIComponent(PolicyDocument)), document);
  await iam.send(new DeleteRolePolicyCommand({ RoleName, PolicyName }));
  assert.deepEqual(await list(), []);
});
