// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// A pod's program: no word about credentials, only the SDK's default chain. Prints who it is as one JSON line.
// With the argument "http" it names the container provider alone, as a check that the chain used no other.

import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { fromHttp } from "@aws-sdk/credential-providers";

const options = process.argv[2] === "http" ? { credentials: fromHttp({ maxRetries: 0, timeout: 10_000 }) } : {};
const sts = new STSClient({ maxAttempts: 1, ...options });
const { Arn, Account } = await sts.send(new GetCallerIdentityCommand({}));
const { accessKeyId, sessionToken, expiration } = await sts.config.credentials();
console.log(JSON.stringify({ Arn, Account, accessKeyId, tokenLength: sessionToken.length, expiration: expiration.toISOString() }));
