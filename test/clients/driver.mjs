// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// The conformance suite's driver of the SDK for JavaScript: one request a line on standard input, one reply a line on
// standard output (test/conformance/driver.go has their form). A new client for every call: its environment is a pod's.

import { createInterface } from "node:readline";

const modules = { cloudformation: "client-cloudformation", eks: "client-eks", iam: "client-iam", sts: "client-sts" };

class Lacking extends Error {
  name = "ClientLacksOperation";
}

async function sdk(service) {
  if (!(service in modules)) throw new Lacking(`the SDK for JavaScript publishes no client of ${service}`);
  return import(`@aws-sdk/${modules[service]}`);
}

async function call({ service, operation, input, paginate, attempts }) {
  const module = await sdk(service === "credentials" ? "sts" : service);
  const Client = Object.entries(module).find(([name]) => /^[A-Za-z]+Client$/.test(name) && !name.startsWith("__"))[1];
  const client = new Client(attempts ? { maxAttempts: attempts } : {});
  try {
    if (service === "credentials") {
      for (let again = 1; again < (input?.times ?? 1); again++) await client.config.credentials();
      const { accessKeyId, accountId, expiration } = await client.config.credentials();
      return { accessKeyId, accountId, expiration };
    }
    if (paginate) {
      const pages = [];
      for await (const page of module[`paginate${operation}`]({ client }, input)) pages.push(page);
      return { pages };
    }
    const Command = module[`${operation}Command`];
    if (!Command) throw new Lacking(`the client has no ${operation}`);
    return await client.send(new Command(input));
  } finally {
    client.destroy();
  }
}

/** What a caller of the SDK sees of an error. Codes of unmodelled ones are their names. */
function refusal(error) {
  const typed = error.constructor.name;
  return {
    code: error.name,
    message: String(error.message),
    status: error.$metadata?.httpStatusCode,
    typed: typed.endsWith("ServiceException") || typed === "Error" ? "" : typed,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await call(JSON.parse(line)).then(
    (output) => ({ output }),
    (error) => ({ error: refusal(error) }),
  );
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
