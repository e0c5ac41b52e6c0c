// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// IAM's users and groups, as @aws-sdk/client-iam sees them: what a group gives, and how a user is taken away.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AddUserToGroupCommand,
  CreateAccessKeyCommand,
  CreateGroupCommand,
  CreateUserCommand,
  DeleteAccessKeyCommand,
  DeleteConflictException,
  DeleteGroupCommand,
  DeleteGroupPolicyCommand,
  DeleteUserCommand,
  GetAccessKeyLastUsedCommand,
  GetGroupCommand,
  GetLoginProfileCommand,
  IAMClient,
  LimitExceededException,
  ListGroupsForUserCommand,
  ListMFADevicesCommand,
  ListUsersCommand,
  NoSuchEntityException,
  PutGroupPolicyCommand,
  RemoveUserFromGroupCommand,
  UpdateUserCommand,
} from "@aws-sdk/client-iam";

import { account, iam, refused, region, unique } from "./support.mjs";

const mayList = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "iam:ListUsers", Resource: "*" }] };

test("a user has what his group has, under whatever name, until he leaves it", async () => {
  const [GroupName, UserName, later] = [unique("team"), unique("ann"), unique("bea")];
  await iam.send(new CreateUserCommand({ UserName, Path: "/people/" }));
  const { Group } = await iam.send(new CreateGroupCommand({ GroupName }));
  assert.equal(Group.Arn, `arn:aws:iam::${account}:group/${GroupName}`);
  assert.match(Group.GroupId, /^AGPA[A-Z0-9]{17}$/);
  const keys = [];
  for (let i = 0; i < 2; i++) keys.push((await iam.send(new CreateAccessKeyCommand({ UserName }))).AccessKey);
  await refused(iam.send(new CreateAccessKeyCommand({ UserName })), {
    type: LimitExceededException,
    status: 409,
    message: "Cannot exceed quota for AccessKeysPerUser: 2",
  });
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey } = keys[0];
  const own = new IAMClient({ region, credentials: { accessKeyId, secretAccessKey } });
  const list = () => own.send(new ListUsersCommand({}));

  await refused(list(), { name: "AccessDenied", status: 403 });
  await iam.send(new PutGroupPolicyCommand({ GroupName, PolicyName: "list", PolicyDocument: JSON.stringify(mayList) }));
  await iam.send(new AddUserToGroupCommand({ GroupName, UserName }));
  assert.ok((await list()).Users.some((u) => u.UserName === UserName));
  await iam.send(new UpdateUserCommand({ UserName, NewUserName: later, NewPath: "/" }));
  assert.ok((await list()).Users.some((u) => u.Arn === `arn:aws:iam::${account}:user/${later}`));
  assert.deepEqual((await iam.send(new GetGroupCommand({ GroupName }))).Users.map((u) => u.UserName), [later]);
  const used = await iam.send(new GetAccessKeyLastUsedCommand({ AccessKeyId: accessKeyId }));
  assert.deepEqual([used.UserName, used.AccessKeyLastUsed.ServiceName], [later, "iam"]);
  assert.ok(used.AccessKeyLastUsed.LastUsedDate instanceof Date);

  // What a tool does that deletes a user by force.
  const gone = { type: DeleteConflictException, status: 409 };
  await refused(iam.send(new DeleteUserCommand({ UserName: later })), gone);
  await refused(iam.send(new DeleteGroupCommand({ GroupName })), gone);
  assert.deepEqual((await iam.send(new ListMFADevicesCommand({ UserName: later }))).MFADevices, []);
  await refused(iam.send(new GetLoginProfileCommand({ UserName: later })), {
    type: NoSuchEntityException,
    status: 404,
    message: `Login Profile for User ${later} cannot be found.`,
  });
  for (const g of (await iam.send(new ListGroupsForUserCommand({ UserName: later }))).Groups) {
    await iam.send(new RemoveUserFromGroupCommand({ GroupName: g.GroupName, UserName: later }));
  }
  await refused(list(), { name: "AccessDenied", status: 403 });
  for (const { AccessKeyId } of keys) await iam.send(new DeleteAccessKeyCommand({ UserName: later, AccessKeyId }));
  await iam.send(new DeleteUserCommand({ UserName: later }));
  await iam.send(new DeleteGroupPolicyCommand({ GroupName, PolicyName: "list" }));
  await iam.send(new DeleteGroupCommand({ GroupName }));
});
