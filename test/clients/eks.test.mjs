// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// The EKS API of pod identity associations, as @aws-sdk/client-eks sees it: typed errors, dates, pages, ARNs in paths.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import {
  CreatePodIdentityAssociationCommand,
  DeletePodIdentityAssociationCommand,
  DescribeClusterCommand,
  DescribePodIdentityAssociationCommand,
  InvalidParameterException,
  ListTagsForResourceCommand,
  NotFoundException,
  ResourceInUseException,
  ResourceNotFoundException,
  TagResourceCommand,
  UntagResourceCommand,
  UpdatePodIdentityAssociationCommand,
  paginateListClusters,
  paginateListPodIdentityAssociations,
} from "@aws-sdk/client-eks";

import { account, cleanUp, cluster, clusterArn, createRole, eks, podTrust, refused, region, unique } from "./support.mjs";

const absent = "a-zzzzzzzzzzzzzzzzz";

async function create(t, input) {
  const { association } = await eks.send(
    new CreatePodIdentityAssociationCommand({ clusterName: cluster, namespace: unique("ns"), serviceAccount: "app", ...input }),
  );
  return cleanUp(t, association);
}

const describe = (associationId, clusterName = cluster) =>
  eks.send(new DescribePodIdentityAssociationCommand({ clusterName, associationId }));

async function collect(pages, member) {
  const all = [];
  for await (const page of pages) all.push(...page[member]);
  return all;
}

test("a cluster is described as a native one", async () => {
  const { cluster: described } = await eks.send(new DescribeClusterCommand({ name: cluster }));
  assert.equal(described.name, cluster);
  assert.equal(described.arn, clusterArn);
  assert.equal(described.status, "ACTIVE");
  assert.equal(described.connectorConfig, undefined);
  assert.ok(described.endpoint);
  assert.equal(typeof described.certificateAuthority.data, "string");
  assert.ok(described.createdAt instanceof Date);
});

test("clusters are listed, page by page", async () => {
  const names = await collect(paginateListClusters({ client: eks, pageSize: 1 }, {}), "clusters");
  assert.ok(names.includes(cluster));
  assert.equal(new Set(names).size, names.length);
});

test("an unknown cluster is not found", async () => {
  await refused(eks.send(new DescribeClusterCommand({ name: "nope" })), {
    type: ResourceNotFoundException,
    status: 404,
    message: "No cluster found for name: nope.",
  });
});

test("create answers the whole association, and describe the same", async (t) => {
  const role = await createRole(t);
  const begin = Date.now();
  const made = await create(t, { roleArn: role.Arn, tags: { team: "data" } });

  assert.match(made.associationId, /^a-[a-z0-9]{17}$/);
  assert.equal(made.associationArn, `arn:aws:eks:${region}:${account}:podidentityassociation/${cluster}/${made.associationId}`);
  assert.equal(made.clusterName, cluster);
  assert.equal(made.serviceAccount, "app");
  assert.equal(made.roleArn, role.Arn);
  assert.deepEqual(made.tags, { team: "data" });
  assert.equal(made.disableSessionTags, false);
  assert.equal(made.targetRoleArn, undefined);
  assert.equal(made.externalId, undefined);
  assert.equal(made.ownerArn, undefined);
  for (const member of ["createdAt", "modifiedAt"]) {
    assert.ok(made[member] instanceof Date, `${member} is no Date`);
    assert.ok(Math.abs(made[member].getTime() - begin) < 60_000, `${member} is ${made[member].toISOString()}`);
  }

  const { association } = await describe(made.associationId);
  assert.deepEqual(association, made);
});

test("no tags are an empty map", async (t) => {
  const role = await createRole(t);
  assert.deepEqual((await create(t, { roleArn: role.Arn })).tags, {});
});

test("a second association of one service account is refused with the first one's id", async (t) => {
  const role = await createRole(t);
  const first = await create(t, { roleArn: role.Arn });
  await refused(create(t, { namespace: first.namespace, roleArn: role.Arn }), {
    type: ResourceInUseException,
    status: 409,
    message: `Association already exists: ${first.associationId}`,
  });
});

test("the same client request token gives the same association", async (t) => {
  const role = await createRole(t);
  const input = { namespace: unique("ns"), roleArn: role.Arn, clientRequestToken: randomUUID() };
  const first = await create(t, input);
  const second = await create(t, input);
  assert.equal(second.associationId, first.associationId);
});

test("what cannot be associated is refused", async (t) => {
  const role = await createRole(t);
  const untrusting = await createRole(t, {
    trust: { ...podTrust(), Statement: podTrust().Statement.map((s) => ({ ...s, Action: "sts:AssumeRole" })) },
  });
  const elsewhere = await createRole(t, { trust: podTrust("999999999999") });
  const trust = "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.";
  const cases = [
    ["no such cluster", { clusterName: "nope", roleArn: role.Arn }, ResourceNotFoundException, 404, "No cluster found for name: nope."],
    ["no such role", { roleArn: `${role.Arn}-none` }, InvalidParameterException, 400, /^Role provided in the request does not exist/],
    ["trust without TagSession", { roleArn: untrusting.Arn }, InvalidParameterException, 400, trust],
    ["trust of another account", { roleArn: elsewhere.Arn }, InvalidParameterException, 400, trust],
    ["session policy with session tags", { roleArn: role.Arn, policy: JSON.stringify({ Version: "2012-10-17", Statement: [] }) }, InvalidParameterException, 400],
  ];
  for (const [name, input, type, status, message] of cases) {
    await t.test(name, (t) => refused(create(t, input), { type, status, message }));
  }
});

test("an unknown association is not found", async () => {
  await refused(describe(absent), { type: ResourceNotFoundException, status: 404 });
});

test("an id of another length is refused", async () => {
  await refused(describe("a-short"), {
    type: InvalidParameterException,
    status: 400,
    message: "The parameter associationId should be 19 characters long.",
  });
});

test("list pages through all associations of a namespace, each once", async (t) => {
  const role = await createRole(t);
  const namespace = unique("pages");
  const made = [];
  for (const serviceAccount of ["a", "b", "c", "d", "e"]) made.push(await create(t, { namespace, serviceAccount, roleArn: role.Arn }));
  await create(t, { roleArn: role.Arn });

  const listed = await collect(
    paginateListPodIdentityAssociations({ client: eks, pageSize: 2 }, { clusterName: cluster, namespace }),
    "associations",
  );
  assert.deepEqual(listed.map((a) => a.associationId).sort(), made.map((a) => a.associationId).sort());
  for (const summary of listed) {
    assert.equal(summary.namespace, namespace);
    assert.ok(summary.associationArn.endsWith(`/${summary.associationId}`));
    assert.equal(summary.roleArn, undefined, "a summary names no role");
  }

  const one = await collect(
    paginateListPodIdentityAssociations({ client: eks }, { clusterName: cluster, namespace, serviceAccount: "c" }),
    "associations",
  );
  assert.deepEqual(one.map((a) => a.serviceAccount), ["c"]);
});

test("update changes what it names and nothing else", async (t) => {
  const [first, second] = [await createRole(t), await createRole(t)];
  const made = await create(t, { roleArn: first.Arn, tags: { keep: "me" } });
  const update = (input) =>
    eks.send(new UpdatePodIdentityAssociationCommand({ clusterName: cluster, associationId: made.associationId, ...input }));

  const { association: moved } = await update({ roleArn: second.Arn });
  assert.equal(moved.roleArn, second.Arn);
  assert.deepEqual(moved.tags, { keep: "me" });
  assert.equal(moved.createdAt.getTime(), made.createdAt.getTime());
  assert.ok(moved.modifiedAt >= made.modifiedAt);

  const { association: untagged } = await update({ disableSessionTags: true });
  assert.equal(untagged.disableSessionTags, true);
  assert.equal(untagged.roleArn, second.Arn);
});

test("delete answers the association once", async (t) => {
  const role = await createRole(t);
  const made = await create(t, { roleArn: role.Arn });
  const remove = () => eks.send(new DeletePodIdentityAssociationCommand({ clusterName: cluster, associationId: made.associationId }));
  const { association } = await remove();
  assert.equal(association.associationId, made.associationId);
  await refused(remove(), { type: ResourceNotFoundException, status: 404 });
});

test("tags go by ARN, percent-encoded in the path", async (t) => {
  const role = await createRole(t);
  const { associationArn: resourceArn } = await create(t, { roleArn: role.Arn, tags: { a: "1" } });
  const tags = async () => (await eks.send(new ListTagsForResourceCommand({ resourceArn }))).tags;

  await eks.send(new TagResourceCommand({ resourceArn, tags: { b: "2 / ü", "c:d": "" } }));
  assert.deepEqual(await tags(), { a: "1", b: "2 / ü", "c:d": "" });
  await eks.send(new UntagResourceCommand({ resourceArn, tagKeys: ["a", "c:d"] }));
  assert.deepEqual(await tags(), { b: "2 / ü" });

  const unknown = resourceArn.replace(/a-[a-z0-9]+$/, absent);
  await refused(eks.send(new ListTagsForResourceCommand({ resourceArn: unknown })), { type: NotFoundException, status: 404 });
});
